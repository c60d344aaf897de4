import { MigrationInterface, QueryRunner, Table } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

const text = (name: string, length: number) => ({ name, type: 'varchar', length: String(length) });
const integer = (name: string) => ({ name, type: 'integer' });
const time = (name: string) => ({ name, type: TIMESTAMP });
const optional = <T extends object>(column: T) => ({ ...column, isNullable: true });

/** Webhooks, how far they are in the event log, and their deliveries. */
export class Webhooks1764920000000 implements MigrationInterface {
  name = 'Webhooks1764920000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const table of [WEBHOOKS, CURSORS, DELIVERIES]) await queryRunner.createTable(table);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const table of [DELIVERIES, CURSORS, WEBHOOKS]) await queryRunner.dropTable(table);
  }
}

const WEBHOOKS = new Table({
  name: 'webhooks',
  columns: [
    { ...text('id', 36), isPrimary: true },
    text('user_id', 36),
    { name: 'for_all_users', type: 'boolean' },
    text('url', 2048),
    optional(text('description', 200)),
    optional({ name: 'events', type: 'text' }),
    { name: 'labels', type: 'text' },
    text('status', 16),
    optional(text('status_reason', 64)),
    text('secret', 255),
    optional(text('former_secret', 255)),
    optional(time('former_secret_until')),
    optional(text('holder', 36)),
    integer('revision'),
    time('created_at'),
    time('updated_at'),
  ],
  indices: [
    { name: 'webhooks_user', columnNames: ['user_id', 'created_at'] },
    { name: 'webhooks_holder', columnNames: ['holder'] },
  ],
});

const CURSORS = new Table({
  name: 'webhook_cursors',
  columns: [
    { ...text('webhook_id', 36), isPrimary: true },
    { ...text('user_id', 36), isPrimary: true },
    integer('seq'),
  ],
});

const DELIVERIES = new Table({
  name: 'webhook_deliveries',
  columns: [
    { ...text('id', 36), isPrimary: true },
    text('webhook_id', 36),
    text('user_id', 36),
    optional(integer('seq')),
    text('type', 32),
    text('subject', 64),
    text('status', 16),
    integer('attempts'),
    optional(time('first_failed_at')),
    optional(time('next_try_at')),
    time('created_at'),
    optional(time('attempted_at')),
    optional(time('settled_at')),
    optional(integer('response_status')),
    optional({ name: 'response_body', type: 'text' }),
    optional(text('error', 255)),
    optional(integer('duration_ms')),
  ],
  indices: [
    { name: 'webhook_deliveries_webhook', columnNames: ['webhook_id', 'created_at'] },
    { name: 'webhook_deliveries_pending', columnNames: ['webhook_id'], where: "status = 'pending'" },
    { name: 'webhook_deliveries_settled_at', columnNames: ['settled_at'] },
  ],
});

import { MigrationInterface, QueryRunner, Table, TableColumnOptions } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

const text = (name: string, length: number): TableColumnOptions => ({ name, type: 'varchar', length: String(length) });
const integer = (name: string): TableColumnOptions => ({ name, type: 'integer' });
const counter = (name: string): TableColumnOptions => ({ name, type: 'integer', default: 0 });
const json = (name: string): TableColumnOptions => ({ name, type: 'text' });
const time = (name: string): TableColumnOptions => ({ name, type: TIMESTAMP });
const optional = (column: TableColumnOptions): TableColumnOptions => ({ ...column, isNullable: true });
const primary = (column: TableColumnOptions): TableColumnOptions => ({ ...column, isPrimary: true });
const unique = (column: TableColumnOptions): TableColumnOptions => ({ ...column, isUnique: true });

/** Users, tokens, containers with every Docker id they had, events, and the database's own settings. */
export class InitialSchema1764000000000 implements MigrationInterface {
  name = 'InitialSchema1764000000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const table of TABLES) await queryRunner.createTable(table, true);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const table of [...TABLES].reverse()) await queryRunner.dropTable(table);
  }
}

const TABLES = [
  new Table({ name: 'settings', columns: [primary(text('key', 64)), text('value', 255)] }),
  new Table({
    name: 'users',
    columns: [
      primary(text('id', 36)),
      unique(text('username', 64)),
      text('tier', 32),
      counter('event_seq'),
      optional(time('session_expires_at')),
      time('created_at'),
    ],
  }),
  new Table({
    name: 'tokens',
    columns: [
      primary(text('id', 36)),
      text('user_id', 36),
      text('name', 64),
      unique(text('hash', 64)),
      text('prefix', 12),
      json('scopes'),
      time('created_at'),
      optional(time('expires_at')),
      optional(time('revoked_at')),
    ],
    indices: [{ name: 'tokens_user_id', columnNames: ['user_id'] }],
  }),
  new Table({
    name: 'containers',
    columns: [
      primary(text('id', 36)),
      text('user_id', 36),
      text('name', 64),
      text('image', 255),
      optional(text('role', 64)),
      json('env'),
      integer('memory_mb'),
      integer('cpu_shares'),
      integer('disk_mb'),
      text('status', 16),
      optional(text('status_reason', 64)),
      optional(text('docker_id', 64)),
      counter('generation'),
      text('volume_name', 128),
      optional(text('runtime', 16)),
      optional(text('ip_address', 45)),
      optional(text('run_started_at', 35)),
      optional(time('expires_at')),
      time('last_used_at'),
      optional(text('operation', 16)),
      optional(text('operation_id', 36)),
      optional(time('operation_expires_at')),
      { name: 'operation_cancelled', type: 'boolean' },
      counter('revision'),
      time('created_at'),
      time('updated_at'),
      optional(time('deleted_at')),
      optional(time('purge_at')),
      optional(time('purged_at')),
    ],
    indices: [
      {
        name: 'containers_live_name',
        columnNames: ['user_id', 'name'],
        isUnique: true,
        where: 'deleted_at IS NULL',
      },
    ],
  }),
  new Table({
    name: 'container_docker_ids',
    columns: [primary(text('docker_id', 64)), text('short_id', 12), text('container_id', 36)],
    indices: [
      { name: 'container_docker_ids_short_id', columnNames: ['short_id'] },
      { name: 'container_docker_ids_container_id', columnNames: ['container_id'] },
    ],
  }),
  new Table({
    name: 'events',
    columns: [
      primary(text('user_id', 36)),
      primary(integer('seq')),
      text('type', 32),
      json('data'),
      time('created_at'),
    ],
    indices: [{ name: 'events_created_at', columnNames: ['created_at'] }],
  }),
];

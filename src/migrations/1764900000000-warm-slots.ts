import { MigrationInterface, QueryRunner, Table, TableIndex } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

const text = (name: string, length: number, isNullable = false) => ({
  name,
  type: 'varchar',
  length: String(length),
  isNullable,
});
const integer = (name: string) => ({ name, type: 'integer' });

/** The table of containers that are started before a user asks for one, and an index to count recent creations. */
export class WarmSlots1764900000000 implements MigrationInterface {
  name = 'WarmSlots1764900000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.createTable(WARM_SLOTS);
    await queryRunner.createIndex('containers', CREATED_AT);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropIndex('containers', CREATED_AT);
    await queryRunner.dropTable(WARM_SLOTS);
  }
}

const WARM_SLOTS = new Table({
  name: 'warm_slots',
  columns: [
    { ...text('id', 36), isPrimary: true },
    text('key', 160),
    text('state', 16),
    text('holder', 36),
    text('node_id', 64, true),
    text('image', 255),
    text('image_id', 80),
    text('image_digest', 80, true),
    integer('memory_mb'),
    integer('cpu_shares'),
    integer('disk_mb'),
    { name: 'network', type: 'text' },
    integer('processes'),
    text('docker_id', 128, true),
    text('runtime', 16, true),
    text('run_started_at', 35, true),
    text('ip_address', 45, true),
    { name: 'made_at', type: TIMESTAMP },
  ],
  indices: [{ name: 'warm_slots_ready', columnNames: ['key', 'made_at'], where: "state = 'ready'" }],
});

const CREATED_AT = new TableIndex({ name: 'containers_created_at', columnNames: ['created_at'] });

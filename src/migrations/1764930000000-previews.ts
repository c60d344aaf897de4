import { MigrationInterface, QueryRunner, Table, TableColumn } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

const text = (name: string, length: number) => ({ name, type: 'varchar', length: String(length) });
const optional = <T extends object>(column: T) => ({ ...column, isNullable: true });

/** Links to ports of containers, ports that everybody may see, containers that a preview starts, metered bytes. */
export class Previews1764930000000 implements MigrationInterface {
  name = 'Previews1764930000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.createTable(PORTS);
    await queryRunner.createTable(LINKS);
    await queryRunner.addColumn('containers', new TableColumn(AUTO_START));
    await queryRunner.addColumn('daily_usage', new TableColumn(BYTES));
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropColumn('daily_usage', BYTES.name);
    await queryRunner.dropColumn('containers', AUTO_START.name);
    await queryRunner.dropTable(LINKS);
    await queryRunner.dropTable(PORTS);
  }
}

const AUTO_START = { name: 'auto_start', type: 'boolean', default: TIMESTAMP === 'datetime' ? '0' : 'false' };

const BYTES = { name: 'preview_bytes', type: 'bigint', default: 0 };

const PORTS = new Table({
  name: 'public_ports',
  columns: [{ ...text('id', 42), isPrimary: true }, text('container_id', 36), { name: 'port', type: 'integer' }],
  indices: [{ name: 'public_ports_container', columnNames: ['container_id'] }],
});

const LINKS = new Table({
  name: 'preview_links',
  columns: [
    { ...text('id', 36), isPrimary: true },
    text('container_id', 36),
    { name: 'port', type: 'integer' },
    text('user_id', 36),
    optional(text('name', 64)),
    { ...text('hash', 64), isUnique: true },
    { name: 'is_single', type: 'boolean' },
    { name: 'may_start', type: 'boolean' },
    optional({ name: 'used_at', type: TIMESTAMP }),
    { name: 'created_at', type: TIMESTAMP },
    { name: 'expires_at', type: TIMESTAMP },
  ],
  indices: [
    { name: 'preview_links_port', columnNames: ['container_id', 'port'] },
    { name: 'preview_links_expires_at', columnNames: ['expires_at'] },
  ],
});

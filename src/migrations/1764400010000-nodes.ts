import { MigrationInterface, QueryRunner, Table, TableColumn } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

const CONTAINERS = 'containers';
const UNREACHABLE = new TableColumn({ name: 'unreachable_since', type: TIMESTAMP, isNullable: true });

/** Several machines: what is known of each, and the lock under which one is chosen. */
export class Nodes1764400010000 implements MigrationInterface {
  name = 'Nodes1764400010000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.createTable(NODES);
    await queryRunner.createTable(PLACEMENT);
    await queryRunner.query('INSERT INTO placement (id) VALUES (1)');
    await queryRunner.addColumn(CONTAINERS, UNREACHABLE);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropColumn(CONTAINERS, 'unreachable_since');
    await queryRunner.dropTable(PLACEMENT);
    await queryRunner.dropTable(NODES);
  }
}

const text = (name: string, length: number) => ({ name, type: 'varchar', length: String(length) });

const NODES = new Table({
  name: 'nodes',
  columns: [
    { ...text('id', 64), isPrimary: true },
    text('name', 255),
    text('address', 255),
    text('pool', 64),
    { name: 'labels', type: 'text' },
    text('state', 16),
    text('availability', 16),
    { name: 'is_manager', type: 'boolean' },
    { name: 'memory_mb', type: 'integer', isNullable: true },
    { name: 'cpu_shares', type: 'integer', isNullable: true },
    { name: 'problem', type: 'text', isNullable: true },
    { name: 'reachable_at', type: TIMESTAMP, isNullable: true },
    { name: 'forgotten_at', type: TIMESTAMP, isNullable: true },
  ],
});

const PLACEMENT = new Table({ name: 'placement', columns: [{ name: 'id', type: 'integer', isPrimary: true }] });

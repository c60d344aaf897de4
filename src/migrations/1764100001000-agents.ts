import { MigrationInterface, QueryRunner, Table, TableColumn, TableColumnOptions } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

const text = (name: string, length: number): TableColumnOptions => ({ name, type: 'varchar', length: String(length) });
const time = (name: string): TableColumnOptions => ({ name, type: TIMESTAMP });
const json = (name: string): TableColumnOptions => ({ name, type: 'text' });
const optional = (column: TableColumnOptions): TableColumnOptions => ({ ...column, isNullable: true });

/** Agents, and the tokens that are bound to one. */
export class Agents1764100001000 implements MigrationInterface {
  name = 'Agents1764100001000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.createTable(AGENTS);
    await queryRunner.addColumn('tokens', TOKEN_AGENT);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropColumn('tokens', TOKEN_AGENT);
    await queryRunner.dropTable(AGENTS);
  }
}

const AGENTS = new Table({
  name: 'agents',
  columns: [
    { ...text('id', 36), isPrimary: true },
    text('user_id', 36),
    text('name', 64),
    optional(text('description', 500)),
    optional(text('os', 64)),
    optional(text('arch', 64)),
    optional(text('version', 64)),
    json('tags'),
    text('token_id', 36),
    { name: 'epoch', type: 'integer', default: 0 },
    { name: 'online', type: 'boolean' },
    optional(time('connected_at')),
    optional(time('seen_at')),
    optional(json('stats')),
    time('created_at'),
    optional(time('deleted_at')),
  ],
  indices: [
    { name: 'agents_live_name', columnNames: ['user_id', 'name'], isUnique: true, where: 'deleted_at IS NULL' },
    { name: 'agents_silent', columnNames: ['seen_at'], where: 'online = true' },
  ],
});

const TOKEN_AGENT = new TableColumn(optional(text('agent_id', 36)));

import { MigrationInterface, QueryRunner, Table, TableColumnOptions } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

const text = (name: string, length: number): TableColumnOptions => ({ name, type: 'varchar', length: String(length) });
const optional = (column: TableColumnOptions): TableColumnOptions => ({ ...column, isNullable: true });

/** What was done, by whom, to what. */
export class Audit1764100009000 implements MigrationInterface {
  name = 'Audit1764100009000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.createTable(AUDIT_ENTRIES, true);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropTable(AUDIT_ENTRIES);
  }
}

const AUDIT_ENTRIES = new Table({
  name: 'audit_entries',
  columns: [
    { ...text('id', 36), isPrimary: true },
    { name: 'at', type: TIMESTAMP },
    text('action', 64),
    text('outcome', 64),
    optional(text('user_id', 36)),
    optional(text('token_id', 36)),
    optional(text('subject_user_id', 36)),
    optional(text('container_id', 36)),
    optional(text('target_id', 128)),
    optional(text('address', 64)),
    optional(text('request_id', 128)),
    optional({ name: 'finished_at', type: TIMESTAMP }),
  ],
  indices: [
    { name: 'audit_entries_at', columnNames: ['at'] },
    { name: 'audit_entries_user_id', columnNames: ['user_id', 'at'] },
    { name: 'audit_entries_subject_user_id', columnNames: ['subject_user_id', 'at'] },
    { name: 'audit_entries_container_id', columnNames: ['container_id', 'at'] },
  ],
});

import { MigrationInterface, QueryRunner, TableColumn, TableIndex } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

const TABLE = 'containers';

/**
 * When containers that nobody uses are stopped and deleted. What is stopped already counts from its last change; none
 * is deleted without a warning before.
 */
export class AbandonedContainers1764300020000 implements MigrationInterface {
  name = 'AbandonedContainers1764300020000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.addColumns(TABLE, COLUMNS);
    await queryRunner.query(
      "UPDATE containers SET stopped_at = updated_at WHERE deleted_at IS NULL AND status IN ('stopped', 'error')",
    );
    await queryRunner.createIndex(TABLE, STOPPED);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropIndex(TABLE, STOPPED);
    await queryRunner.dropColumns(TABLE, COLUMNS);
  }
}

const COLUMNS = [
  new TableColumn({ name: 'auto_stop_seconds', type: 'integer', isNullable: true }),
  new TableColumn({ name: 'auto_delete_seconds', type: 'integer', isNullable: true }),
  new TableColumn({ name: 'idle_warned_at', type: TIMESTAMP, isNullable: true }),
  new TableColumn({ name: 'stopped_at', type: TIMESTAMP, isNullable: true }),
  new TableColumn({ name: 'deletion_warned_at', type: TIMESTAMP, isNullable: true }),
];

const STOPPED = new TableIndex({
  name: 'containers_stopped',
  columnNames: ['stopped_at'],
  where: 'stopped_at IS NOT NULL AND deleted_at IS NULL',
});

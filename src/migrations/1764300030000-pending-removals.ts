import { MigrationInterface, QueryRunner, TableColumn, TableIndex } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

const TABLE = 'containers';
const COLUMN = 'removal_pending_since';

/** Which deleted containers Docker has not removed yet. */
export class PendingRemovals1764300030000 implements MigrationInterface {
  name = 'PendingRemovals1764300030000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.addColumn(TABLE, new TableColumn({ name: COLUMN, type: TIMESTAMP, isNullable: true }));
    await queryRunner.createIndex(TABLE, PENDING);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropIndex(TABLE, PENDING);
    await queryRunner.dropColumn(TABLE, COLUMN);
  }
}

const PENDING = new TableIndex({
  name: 'containers_pending_removal',
  columnNames: [COLUMN],
  where: `${COLUMN} IS NOT NULL`,
});

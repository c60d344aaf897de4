import { MigrationInterface, QueryRunner, TableColumn, TableIndex } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

const TABLE = 'users';

/** Users whom administrators have suspended or deleted. */
export class SuspendedUsers1764300040000 implements MigrationInterface {
  name = 'SuspendedUsers1764300040000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.addColumns(TABLE, COLUMNS);
    await queryRunner.createIndex(TABLE, SUSPENDED);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropIndex(TABLE, SUSPENDED);
    await queryRunner.dropColumns(TABLE, COLUMNS);
  }
}

const COLUMNS = [
  new TableColumn({ name: 'suspended_at', type: TIMESTAMP, isNullable: true }),
  new TableColumn({ name: 'deleted_at', type: TIMESTAMP, isNullable: true }),
];

/** For those who look for containers that must not run; few users are. */
const SUSPENDED = new TableIndex({
  name: 'users_suspended',
  columnNames: ['suspended_at'],
  where: 'suspended_at IS NOT NULL',
});

import { MigrationInterface, QueryRunner, TableColumn, TableIndex } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

const TABLE = 'containers';

/** What the ends of sessions and runs, and the installation of roles, keep in a container's row. */
export class SessionsAndRoles1764100000000 implements MigrationInterface {
  name = 'SessionsAndRoles1764100000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.addColumns(TABLE, COLUMNS);
    await queryRunner.createIndex(TABLE, EXPIRY);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropIndex(TABLE, EXPIRY);
    await queryRunner.dropColumns(TABLE, COLUMNS);
  }
}

const COLUMNS = [
  new TableColumn({ name: 'expiry_warned_at', type: TIMESTAMP, isNullable: true }),
  new TableColumn({ name: 'role_status', type: 'varchar', length: '16', isNullable: true }),
  new TableColumn({ name: 'role_claim_id', type: 'varchar', length: '36', isNullable: true }),
  new TableColumn({ name: 'role_claim_expires_at', type: TIMESTAMP, isNullable: true }),
];

const EXPIRY = new TableIndex({
  name: 'containers_expires_at',
  columnNames: ['expires_at'],
  where: 'expires_at IS NOT NULL',
});

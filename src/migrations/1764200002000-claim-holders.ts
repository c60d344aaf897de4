import { MigrationInterface, QueryRunner, TableColumn, TableIndex } from 'typeorm';

const TABLE = 'containers';

/** Which process holds a claim, and the way to what is claimed without a look at all the rest. */
export class ClaimHolders1764200002000 implements MigrationInterface {
  name = 'ClaimHolders1764200002000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const column of HOLDERS) await queryRunner.addColumn(TABLE, column);
    for (const index of CLAIMED) await queryRunner.createIndex(TABLE, index);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const index of CLAIMED) await queryRunner.dropIndex(TABLE, index);
    for (const column of HOLDERS) await queryRunner.dropColumn(TABLE, column);
  }
}

const HOLDERS = ['operation_holder', 'role_claim_holder'].map(
  (name) => new TableColumn({ name, type: 'varchar', length: '36', isNullable: true }),
);

const CLAIMED = [
  new TableIndex({ name: 'containers_claimed', columnNames: ['operation'], where: 'operation IS NOT NULL' }),
  new TableIndex({
    name: 'containers_role_claimed',
    columnNames: ['role_claim_id'],
    where: 'role_claim_id IS NOT NULL',
  }),
];

import { MigrationInterface, QueryRunner, TableColumn } from 'typeorm';

const SUMS = 'reserved_capacity';

/** Whether a node takes anything new, beside the sum that whoever places something there locks. */
export class OpenNodes1764730000000 implements MigrationInterface {
  name = 'OpenNodes1764730000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    // As each database writes it, by which the schema is compared with the entities.
    const isTrue = queryRunner.dataSource.options.type === 'postgres' ? 'true' : '1';
    await queryRunner.addColumn(SUMS, new TableColumn({ name: 'is_open', type: 'boolean', default: isTrue }));
    const closed = "SELECT id FROM nodes WHERE availability <> 'active'";
    await queryRunner.query(`UPDATE ${SUMS} SET is_open = false WHERE node IN (${closed})`);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropColumn(SUMS, 'is_open');
  }
}

import { MigrationInterface, QueryRunner, TableColumn } from 'typeorm';

/**
 * What users attach to their containers. The default also serves a process of an earlier version that inserts
 * meanwhile.
 */
export class Labels1764200004000 implements MigrationInterface {
  name = 'Labels1764200004000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.addColumn('containers', new TableColumn({ name: 'labels', type: 'text', default: "'{}'" }));
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropColumn('containers', 'labels');
  }
}

import { MigrationInterface, QueryRunner, TableColumn } from 'typeorm';

/**
 * What a container reaches, as JSON. The default also serves a process of an earlier version that inserts meanwhile.
 */
export class NetworkPolicies1764300002000 implements MigrationInterface {
  name = 'NetworkPolicies1764300002000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.addColumn(
      'containers',
      new TableColumn({ name: 'network', type: 'text', default: `'"internet"'` }),
    );
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropColumn('containers', 'network');
  }
}

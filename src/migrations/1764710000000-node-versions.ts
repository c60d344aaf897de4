import { MigrationInterface, QueryRunner, TableColumn } from 'typeorm';

const NODES = 'nodes';

/** Of what Swarm says of a node, the newest is known. */
export class NodeVersions1764710000000 implements MigrationInterface {
  name = 'NodeVersions1764710000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.addColumn(NODES, VERSION);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropColumn(NODES, 'version');
  }
}

const VERSION = new TableColumn({ name: 'version', type: 'integer', default: '0' });

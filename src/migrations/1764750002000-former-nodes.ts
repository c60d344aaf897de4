import { MigrationInterface, QueryRunner, TableColumn, TableIndex } from 'typeorm';

const CONTAINERS = 'containers';

/** With which node a container was given up: its data is there again when that comes back. */
export class FormerNodes1764750002000 implements MigrationInterface {
  name = 'FormerNodes1764750002000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.addColumn(CONTAINERS, FORMER_NODE.clone());
    await queryRunner.createIndex(CONTAINERS, INDEX.clone());
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropIndex(CONTAINERS, INDEX.clone());
    await queryRunner.dropColumn(CONTAINERS, 'former_node_id');
  }
}

const FORMER_NODE = new TableColumn({ name: 'former_node_id', type: 'varchar', length: '64', isNullable: true });
const INDEX = new TableIndex({
  name: 'containers_former_node',
  columnNames: ['former_node_id'],
  where: 'former_node_id IS NOT NULL',
});

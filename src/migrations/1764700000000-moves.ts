import { MigrationInterface, QueryRunner, TableColumn, TableIndex } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

const CONTAINERS = 'containers';
const NODES = 'nodes';

/** Containers are moved from node to node. */
export class Moves1764700000000 implements MigrationInterface {
  name = 'Moves1764700000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.addColumns(CONTAINERS, [OTHER_NODE, NOT_MOVED]);
    await queryRunner.createIndex(CONTAINERS, ON_OTHER_NODE);
    await queryRunner.addColumn(NODES, EMPTIED);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropColumn(NODES, 'emptied_since');
    await queryRunner.dropIndex(CONTAINERS, ON_OTHER_NODE);
    await queryRunner.dropColumns(CONTAINERS, [NOT_MOVED, OTHER_NODE]);
  }
}

const OTHER_NODE = new TableColumn({ name: 'other_node_id', type: 'varchar', length: '64', isNullable: true });
const NOT_MOVED = new TableColumn({ name: 'not_moved_because', type: 'varchar', length: '64', isNullable: true });
const EMPTIED = new TableColumn({ name: 'emptied_since', type: TIMESTAMP, isNullable: true });

const ON_OTHER_NODE = new TableIndex({
  name: 'containers_other_node',
  columnNames: ['other_node_id'],
  where: 'other_node_id IS NOT NULL',
});

import { MigrationInterface, QueryRunner, TableColumn, TableIndex } from 'typeorm';

const CONTAINERS = 'containers';
const HELD = 'held_programs';

/** On which of several machines a container is; its Docker id names that too. What there is, is on the only one. */
export class NodesOfContainers1764400000000 implements MigrationInterface {
  name = 'NodesOfContainers1764400000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    const node = new TableColumn({ name: 'node_id', type: 'varchar', length: '64', isNullable: true });
    await queryRunner.addColumn(CONTAINERS, node);
    await queryRunner.createIndex(CONTAINERS, NODE);
    await setLength(queryRunner, 128);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await setLength(queryRunner, 64);
    await queryRunner.dropIndex(CONTAINERS, NODE);
    await queryRunner.dropColumn(CONTAINERS, 'node_id');
  }
}

const NODE = new TableIndex({ name: 'containers_node', columnNames: ['node_id'], where: 'node_id IS NOT NULL' });

/** On PostgreSQL neither reads nor writes the rows; SQLite holds nobody to a length, and only its schema is told. */
async function setLength(queryRunner: QueryRunner, length: number): Promise<void> {
  const type = `varchar(${String(length)})`;
  if (queryRunner.dataSource.options.type === 'postgres') {
    for (const table of [CONTAINERS, HELD])
      await queryRunner.query(`ALTER TABLE ${table} ALTER COLUMN docker_id TYPE ${type}`);
    return;
  }
  await queryRunner.query(`ALTER TABLE ${CONTAINERS} ADD COLUMN docker_id_resized ${type}`);
  await queryRunner.query(`UPDATE ${CONTAINERS} SET docker_id_resized = docker_id`);
  await queryRunner.query(`ALTER TABLE ${CONTAINERS} DROP COLUMN docker_id`);
  await queryRunner.query(`ALTER TABLE ${CONTAINERS} RENAME COLUMN docker_id_resized TO docker_id`);
  // TypeORM would make the table as it remembers it where a later migration changes a column.
  await queryRunner.getTable(CONTAINERS);
  const held = { name: 'docker_id', type: 'varchar' };
  await queryRunner.changeColumn(HELD, 'docker_id', new TableColumn({ ...held, length: String(length) }));
}

import { MigrationInterface, QueryRunner, TableColumn } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

const NODES = 'nodes';

/** On which nodes creations fail, for how long they are avoided, and why. */
export class SickNodes1764750001000 implements MigrationInterface {
  name = 'SickNodes1764750001000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const column of COLUMNS) await queryRunner.addColumn(NODES, column.clone());
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const { name } of COLUMNS) await queryRunner.dropColumn(NODES, name);
  }
}

const COLUMNS = [
  new TableColumn({ name: 'avoided_until', type: TIMESTAMP, isNullable: true }),
  new TableColumn({ name: 'avoided_because', type: 'varchar', length: '64', isNullable: true }),
  new TableColumn({ name: 'faults', type: 'integer', default: 0 }),
];

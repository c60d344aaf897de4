import { MigrationInterface, QueryRunner, TableColumn } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

const NODES = 'nodes';

/** Since when administrators know of a node that it does not answer. */
export class SilentNodes1764720000000 implements MigrationInterface {
  name = 'SilentNodes1764720000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.addColumn(NODES, SILENT_SINCE);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropColumn(NODES, 'silent_since');
  }
}

const SILENT_SINCE = new TableColumn({ name: 'silent_since', type: TIMESTAMP, isNullable: true });

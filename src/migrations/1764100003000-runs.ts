import { MigrationInterface, QueryRunner, TableColumn, TableIndex } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

const TABLE = 'containers';

/** Since when a container's run counts, and the way to those that run without a look at all the others. */
export class Runs1764100003000 implements MigrationInterface {
  name = 'Runs1764100003000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.addColumn(TABLE, RUN_SINCE);
    await queryRunner.createIndex(TABLE, RUNNING);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropIndex(TABLE, RUNNING);
    await queryRunner.dropColumn(TABLE, RUN_SINCE);
  }
}

const RUN_SINCE = new TableColumn({ name: 'run_since', type: TIMESTAMP, isNullable: true });

const RUNNING = new TableIndex({
  name: 'containers_running',
  columnNames: ['last_used_at'],
  where: "status = 'running' AND deleted_at IS NULL",
});

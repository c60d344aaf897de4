import { MigrationInterface, QueryRunner, TableColumn, TableIndex } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

/** Containers can be paused, and say what happens to them when they are idle. */
export class PausedContainers1764810000000 implements MigrationInterface {
  name = 'PausedContainers1764810000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.addColumns('containers', [
      new TableColumn({ name: 'idle_action', type: 'varchar', length: '16', isNullable: true }),
      new TableColumn({ name: 'paused_at', type: TIMESTAMP, isNullable: true }),
    ]);
    const where = "status = 'paused' AND deleted_at IS NULL";
    await queryRunner.createIndex('containers', new TableIndex({ ...INDEX, where }));
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    // The next start of the earlier version finds them running or stopped.
    await queryRunner.query(
      "UPDATE containers SET status = 'running', reserved_cpu_shares = cpu_shares WHERE status = 'paused'",
    );
    await queryRunner.dropIndex('containers', INDEX.name);
    await queryRunner.dropColumns('containers', ['idle_action', 'paused_at']);
  }
}

const INDEX = { name: 'containers_paused', columnNames: ['paused_at'] };

import { MigrationInterface, QueryRunner, TableColumn, TableIndex } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

const COLUMNS = ['start', 'start_run', 'start_due_at', 'start_failures', 'start_ready'];

/** What is run in a container after each of its starts, and how far that is. */
export class StartCommands1764300080000 implements MigrationInterface {
  name = 'StartCommands1764300080000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.addColumns('containers', [
      new TableColumn({ name: 'start', type: 'text', isNullable: true }),
      new TableColumn({ name: 'start_run', type: 'varchar', length: '36', isNullable: true }),
      new TableColumn({ name: 'start_due_at', type: TIMESTAMP, isNullable: true }),
      new TableColumn({ name: 'start_failures', type: 'integer', default: 0 }),
      new TableColumn({ name: 'start_ready', type: 'boolean', isNullable: true }),
    ]);
    const due = { name: 'containers_start_due', columnNames: ['start_due_at'], where: 'start_due_at IS NOT NULL' };
    await queryRunner.createIndex('containers', new TableIndex(due));
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropIndex('containers', 'containers_start_due');
    await queryRunner.dropColumns('containers', COLUMNS);
  }
}

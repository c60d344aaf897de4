import { MigrationInterface, QueryRunner, Table } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

/** The programs that Berth's processes hold in containers. */
export class HeldPrograms1764300070000 implements MigrationInterface {
  name = 'HeldPrograms1764300070000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.createTable(PROGRAMS);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropTable(PROGRAMS);
  }
}

const PROGRAMS = new Table({
  name: 'held_programs',
  columns: [
    { name: 'id', type: 'varchar', length: '36', isPrimary: true },
    { name: 'kind', type: 'varchar', length: '16' },
    { name: 'container_id', type: 'varchar', length: '36' },
    { name: 'user_id', type: 'varchar', length: '36' },
    { name: 'docker_id', type: 'varchar', length: '64' },
    { name: 'run_as', type: 'varchar', length: '255', isNullable: true },
    { name: 'program', type: 'varchar', length: '255' },
    { name: 'holder', type: 'varchar', length: '36' },
    { name: 'started_at', type: TIMESTAMP },
  ],
  indices: [
    { name: 'held_programs_container', columnNames: ['container_id', 'kind'] },
    { name: 'held_programs_holder', columnNames: ['holder'] },
  ],
});

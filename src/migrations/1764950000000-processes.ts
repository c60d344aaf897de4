import { MigrationInterface, QueryRunner, Table } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

const text = (name: string, length: number) => ({ name, type: 'varchar', length: String(length) });
const optional = <T extends object>(column: T) => ({ ...column, isNullable: true });

/** Sandboxes keep their programs themselves. The database only knows the processes whose ends are to be reported. */
export class Processes1764950000000 implements MigrationInterface {
  name = 'Processes1764950000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropTable('held_programs');
    await queryRunner.createTable(PROCESSES);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropTable(PROCESSES);
    await queryRunner.createTable(HELD_PROGRAMS);
  }
}

const SHARED = [
  { ...text('id', 36), isPrimary: true },
  text('kind', 16),
  text('container_id', 36),
  text('user_id', 36),
  text('docker_id', 128),
  optional(text('run_as', 255)),
  text('program', 255),
  text('holder', 36),
  { name: 'started_at', type: TIMESTAMP },
];

const PROCESSES = new Table({
  name: 'processes',
  columns: [
    ...SHARED,
    optional(text('course', 36)),
    { name: 'is_announced', type: 'boolean' },
    { name: 'is_ending', type: 'boolean' },
    optional({ name: 'exit_code', type: 'integer' }),
    optional(text('reason', 24)),
    optional({ name: 'ended_at', type: TIMESTAMP }),
  ],
  indices: [
    { name: 'processes_container', columnNames: ['container_id'] },
    { name: 'processes_holder', columnNames: ['holder'] },
    { name: 'processes_ended_at', columnNames: ['ended_at'] },
  ],
});

/** As earlier versions have it. */
const HELD_PROGRAMS = new Table({
  name: 'held_programs',
  columns: SHARED,
  indices: [
    { name: 'held_programs_container', columnNames: ['container_id', 'kind'] },
    { name: 'held_programs_holder', columnNames: ['holder'] },
  ],
});

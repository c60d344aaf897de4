import { MigrationInterface, QueryRunner, TableColumn, TableIndex } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

/** A user can limit how long each run of a container lasts, and say what happens then. */
export class Lifetimes1764960000000 implements MigrationInterface {
  name = 'Lifetimes1764960000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.addColumns('containers', [
      new TableColumn({ name: 'lifetime_seconds', type: 'integer', isNullable: true }),
      new TableColumn({ name: 'end_action', type: 'varchar', length: '16', default: "'stop'" }),
      new TableColumn({ name: 'ends_at', type: TIMESTAMP, isNullable: true }),
    ]);
    await queryRunner.createIndex('containers', new TableIndex({ ...INDEX, where: 'ends_at IS NOT NULL' }));
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropIndex('containers', INDEX.name);
    await queryRunner.dropColumns('containers', ['lifetime_seconds', 'end_action', 'ends_at']);
  }
}

const INDEX = { name: 'containers_ends_at', columnNames: ['ends_at'] };

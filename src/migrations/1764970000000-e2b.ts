import { MigrationInterface, QueryRunner, Table } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

/** The secrets and templates of containers that clients of E2B use. */
export class E2b1764970000000 implements MigrationInterface {
  name = 'E2b1764970000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.createTable(SANDBOXES);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropTable(SANDBOXES);
  }
}

const SANDBOXES = new Table({
  name: 'e2b_sandboxes',
  columns: [
    { name: 'container_id', type: 'varchar', length: '36', isPrimary: true },
    { name: 'access_token', type: 'text' },
    { name: 'template', type: 'varchar', length: '255' },
    { name: 'metadata', type: 'text', isNullable: true },
    { name: 'is_public', type: 'boolean', default: false },
    { name: 'request_host', type: 'varchar', length: '255', isNullable: true },
    { name: 'created_at', type: TIMESTAMP },
  ],
});

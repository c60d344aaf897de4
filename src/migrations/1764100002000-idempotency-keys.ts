import { MigrationInterface, QueryRunner, Table } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

/** The answers to creations under an `Idempotency-Key`. */
export class IdempotencyKeys1764100002000 implements MigrationInterface {
  name = 'IdempotencyKeys1764100002000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.createTable(TABLE, true);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropTable(TABLE);
  }
}

const TABLE = new Table({
  name: 'idempotency_keys',
  columns: [
    { name: 'user_id', type: 'varchar', length: '36', isPrimary: true },
    { name: 'key', type: 'varchar', length: '255', isPrimary: true },
    { name: 'request_hash', type: 'varchar', length: '64' },
    { name: 'answer', type: 'text' },
    { name: 'container_id', type: 'varchar', length: '36' },
    { name: 'created_at', type: TIMESTAMP },
  ],
  indices: [{ name: 'idempotency_keys_created_at', columnNames: ['created_at'] }],
});

import { MigrationInterface, QueryRunner, Table } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

/** Codes that are good for one sign-in. */
export class SignInCodes1764600000000 implements MigrationInterface {
  name = 'SignInCodes1764600000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.createTable(CODES);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropTable(CODES);
  }
}

const CODES = new Table({
  name: 'sign_in_codes',
  columns: [
    { name: 'hash', type: 'varchar', length: '64', isPrimary: true },
    { name: 'token_id', type: 'varchar', length: '36' },
    { name: 'expires_at', type: TIMESTAMP },
  ],
  indices: [{ name: 'sign_in_codes_expires_at', columnNames: ['expires_at'] }],
});

import { MigrationInterface, QueryRunner, Table } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

/**
 * Who of an OpenID provider is which user. Sign-in codes can be of users instead of tokens; those of before are
 * dropped, as they are valid for minutes.
 */
export class OpenIdConnect1765100000000 implements MigrationInterface {
  name = 'OpenIdConnect1765100000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.createTable(IDENTITIES);
    await queryRunner.dropTable('sign_in_codes');
    await queryRunner.createTable(CODES);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropTable('sign_in_codes');
    await queryRunner.createTable(FORMER_CODES);
    await queryRunner.dropTable('openid_identities');
  }
}

const IDENTITIES = new Table({
  name: 'openid_identities',
  columns: [
    { name: 'issuer', type: 'varchar', length: '255', isPrimary: true },
    { name: 'subject', type: 'varchar', length: '255', isPrimary: true },
    { name: 'user_id', type: 'varchar', length: '36' },
    { name: 'refused_at', type: TIMESTAMP, isNullable: true },
    { name: 'created_at', type: TIMESTAMP },
    { name: 'signed_in_at', type: TIMESTAMP },
  ],
  indices: [{ name: 'openid_identities_user_id', columnNames: ['user_id'] }],
});

const HASH = { name: 'hash', type: 'varchar', length: '64', isPrimary: true };
const EXPIRES_AT = { name: 'expires_at', type: TIMESTAMP };
const indices = [{ name: 'sign_in_codes_expires_at', columnNames: ['expires_at'] }];

const CODES = new Table({
  name: 'sign_in_codes',
  columns: [
    HASH,
    { name: 'user_id', type: 'varchar', length: '36' },
    { name: 'token_id', type: 'varchar', length: '36', isNullable: true },
    { name: 'scopes', type: 'text', isNullable: true },
    { name: 'session_ends_at', type: TIMESTAMP, isNullable: true },
    EXPIRES_AT,
  ],
  indices,
});

const FORMER_CODES = new Table({
  name: 'sign_in_codes',
  columns: [HASH, { name: 'token_id', type: 'varchar', length: '36' }, EXPIRES_AT],
  indices,
});

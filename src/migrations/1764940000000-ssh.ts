import { MigrationInterface, QueryRunner, Table } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

const text = (name: string, length: number) => ({ name, type: 'varchar', length: String(length) });
const optional = <T extends object>(column: T) => ({ ...column, isNullable: true });

/** Users' SSH keys, and the host key. */
export class Ssh1764940000000 implements MigrationInterface {
  name = 'Ssh1764940000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.createTable(KEYS);
    await queryRunner.createTable(HOST_KEYS);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropTable(HOST_KEYS);
    await queryRunner.dropTable(KEYS);
  }
}

const KEYS = new Table({
  name: 'ssh_keys',
  columns: [
    { ...text('id', 36), isPrimary: true },
    text('user_id', 36),
    text('name', 64),
    text('type', 32),
    { ...text('fingerprint', 43), isUnique: true },
    text('public_key', 4096),
    { name: 'created_at', type: TIMESTAMP },
    optional({ name: 'expires_at', type: TIMESTAMP }),
    optional({ name: 'last_used_at', type: TIMESTAMP }),
  ],
  indices: [
    { name: 'ssh_keys_user_id', columnNames: ['user_id'] },
    { name: 'ssh_keys_expires_at', columnNames: ['expires_at'] },
  ],
});

const HOST_KEYS = new Table({
  name: 'ssh_host_keys',
  columns: [
    { ...text('type', 32), isPrimary: true },
    { name: 'private_key', type: 'text' },
    { name: 'created_at', type: TIMESTAMP },
  ],
});

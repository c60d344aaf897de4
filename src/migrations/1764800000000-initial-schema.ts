import { MigrationInterface, QueryRunner, Table, TableColumnOptions, TableIndexOptions } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';
import { refuseEarlierDatabase } from './earlier-migrations';

const text = (name: string, length: number): TableColumnOptions => ({ name, type: 'varchar', length: String(length) });
const id = (name: string): TableColumnOptions => text(name, 36);
const longText = (name: string): TableColumnOptions => ({ name, type: 'text' });
const integer = (name: string): TableColumnOptions => ({ name, type: 'integer' });
const bigInteger = (name: string): TableColumnOptions => ({ name, type: 'bigint' });
const counter = (name: string): TableColumnOptions => ({ name, type: 'integer', default: 0 });
const flag = (name: string): TableColumnOptions => ({ name, type: 'boolean' });
const time = (name: string): TableColumnOptions => ({ name, type: TIMESTAMP });
const optional = (column: TableColumnOptions): TableColumnOptions => ({ ...column, isNullable: true });
const primary = (column: TableColumnOptions): TableColumnOptions => ({ ...column, isPrimary: true });
const unique = (column: TableColumnOptions): TableColumnOptions => ({ ...column, isUnique: true });

const index = (name: string, columnNames: string[], where?: string): TableIndexOptions =>
  where === undefined ? { name, columnNames } : { name, columnNames, where };
const indexOfPresent = (name: string, column: string): TableIndexOptions =>
  index(name, [column], `${column} IS NOT NULL`);
const uniqueIndex = (...of: Parameters<typeof index>): TableIndexOptions => ({ ...index(...of), isUnique: true });

/** The whole schema of version 0.2.0. Each later change is a migration of its own. */
export class InitialSchema1764800000000 implements MigrationInterface {
  name = 'InitialSchema1764800000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await refuseEarlierDatabase(queryRunner);
    await createSchema(queryRunner);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const table of [...TABLES].reverse()) await queryRunner.dropTable(table);
  }
}

export async function createSchema(queryRunner: QueryRunner): Promise<void> {
  for (const table of TABLES) await queryRunner.createTable(table);
  // With the locale of the database PostgreSQL may lower an "I" to another letter than "i".
  const lower = queryRunner.dataSource.options.type === 'postgres' ? 'lower(username COLLATE "C")' : 'lower(username)';
  await queryRunner.query(`CREATE UNIQUE INDEX users_username_lower ON users (${lower})`);
  await queryRunner.query("INSERT INTO reserved_capacity (node, memory_mb, cpu_shares) VALUES ('local', 0, 0)");
  await queryRunner.query('INSERT INTO placement (id) VALUES (1)');
}

const TABLES = [
  new Table({ name: 'settings', columns: [primary(text('key', 64)), text('value', 255)] }),
  new Table({
    name: 'users',
    columns: [
      primary(id('id')),
      unique(text('username', 64)),
      text('tier', 32),
      counter('event_seq'),
      optional(time('session_expires_at')),
      time('created_at'),
      optional(time('suspended_at')),
      optional(time('deleted_at')),
    ],
    indices: [indexOfPresent('users_suspended', 'suspended_at')],
  }),
  new Table({
    name: 'tokens',
    columns: [
      primary(id('id')),
      id('user_id'),
      text('name', 64),
      unique(text('hash', 64)),
      text('prefix', 12),
      longText('scopes'),
      time('created_at'),
      optional(time('expires_at')),
      optional(time('revoked_at')),
      optional(id('agent_id')),
    ],
    indices: [index('tokens_user_id', ['user_id'])],
  }),
  new Table({
    name: 'sign_in_codes',
    columns: [primary(text('hash', 64)), id('token_id'), time('expires_at')],
    indices: [index('sign_in_codes_expires_at', ['expires_at'])],
  }),
  new Table({
    name: 'agents',
    columns: [
      primary(id('id')),
      id('user_id'),
      text('name', 64),
      optional(text('description', 500)),
      optional(text('os', 64)),
      optional(text('arch', 64)),
      optional(text('version', 64)),
      longText('tags'),
      id('token_id'),
      counter('epoch'),
      flag('online'),
      optional(time('connected_at')),
      optional(time('seen_at')),
      optional(longText('stats')),
      time('created_at'),
      optional(time('deleted_at')),
    ],
    indices: [
      uniqueIndex('agents_live_name', ['user_id', 'name'], 'deleted_at IS NULL'),
      index('agents_silent', ['seen_at'], 'online = true'),
    ],
  }),
  new Table({
    name: 'containers',
    columns: [
      primary(id('id')),
      id('user_id'),
      text('name', 64),
      text('image', 255),
      optional(text('role', 64)),
      longText('env'),
      integer('memory_mb'),
      integer('cpu_shares'),
      integer('disk_mb'),
      text('status', 16),
      optional(text('status_reason', 64)),
      optional(text('docker_id', 128)),
      counter('generation'),
      text('volume_name', 128),
      optional(text('runtime', 16)),
      optional(text('ip_address', 45)),
      optional(text('run_started_at', 35)),
      optional(time('expires_at')),
      time('last_used_at'),
      optional(text('operation', 16)),
      optional(id('operation_id')),
      optional(time('operation_expires_at')),
      flag('operation_cancelled'),
      counter('revision'),
      time('created_at'),
      time('updated_at'),
      optional(time('deleted_at')),
      optional(time('purge_at')),
      optional(time('purged_at')),
      optional(time('expiry_warned_at')),
      optional(text('role_status', 16)),
      optional(id('role_claim_id')),
      optional(time('role_claim_expires_at')),
      optional(time('run_since')),
      optional(id('operation_holder')),
      optional(id('role_claim_holder')),
      { ...longText('labels'), default: "'{}'" },
      counter('reserved_memory_mb'),
      counter('reserved_cpu_shares'),
      { ...longText('network'), default: `'"internet"'` },
      optional(text('image_id', 80)),
      optional(text('image_digest', 80)),
      optional(integer('auto_stop_seconds')),
      optional(integer('auto_delete_seconds')),
      optional(time('idle_warned_at')),
      optional(time('stopped_at')),
      optional(time('deletion_warned_at')),
      optional(time('removal_pending_since')),
      optional(time('metered_since')),
      optional(longText('start')),
      optional(id('start_run')),
      optional(time('start_due_at')),
      counter('start_failures'),
      optional(flag('start_ready')),
      optional(text('node_id', 64)),
      optional(time('unreachable_since')),
      optional(text('other_node_id', 64)),
      optional(text('not_moved_because', 64)),
      optional(text('former_node_id', 64)),
    ],
    indices: [
      uniqueIndex('containers_live_name', ['user_id', 'name'], 'deleted_at IS NULL'),
      indexOfPresent('containers_expires_at', 'expires_at'),
      index('containers_running', ['last_used_at'], "status = 'running' AND deleted_at IS NULL"),
      index('containers_stopped', ['stopped_at'], 'stopped_at IS NOT NULL AND deleted_at IS NULL'),
      indexOfPresent('containers_claimed', 'operation'),
      indexOfPresent('containers_role_claimed', 'role_claim_id'),
      index('containers_reserving', ['id'], 'reserved_memory_mb > 0'),
      indexOfPresent('containers_pending_removal', 'removal_pending_since'),
      index('containers_metered', ['user_id', 'metered_since'], 'metered_since IS NOT NULL'),
      indexOfPresent('containers_start_due', 'start_due_at'),
      indexOfPresent('containers_node', 'node_id'),
      indexOfPresent('containers_other_node', 'other_node_id'),
      indexOfPresent('containers_former_node', 'former_node_id'),
    ],
  }),
  new Table({
    name: 'container_docker_ids',
    columns: [primary(text('docker_id', 64)), text('short_id', 12), id('container_id')],
    indices: [
      index('container_docker_ids_short_id', ['short_id']),
      index('container_docker_ids_container_id', ['container_id']),
    ],
  }),
  new Table({
    name: 'reserved_capacity',
    columns: [
      primary(text('node', 64)),
      integer('memory_mb'),
      integer('cpu_shares'),
      // In the database's own notation, which the comparison of the schema with the entities needs.
      { ...flag('is_open'), default: TIMESTAMP === 'datetime' ? '1' : 'true' },
    ],
  }),
  new Table({
    name: 'nodes',
    columns: [
      primary(text('id', 64)),
      text('name', 255),
      text('address', 255),
      text('pool', 64),
      longText('labels'),
      text('state', 16),
      text('availability', 16),
      flag('is_manager'),
      optional(integer('memory_mb')),
      optional(integer('cpu_shares')),
      optional(longText('problem')),
      optional(time('reachable_at')),
      optional(time('forgotten_at')),
      optional(time('emptied_since')),
      counter('version'),
      optional(time('silent_since')),
      optional(time('avoided_until')),
      optional(text('avoided_because', 64)),
      counter('faults'),
    ],
  }),
  new Table({ name: 'placement', columns: [primary(integer('id'))] }),
  new Table({
    name: 'held_programs',
    columns: [
      primary(id('id')),
      text('kind', 16),
      id('container_id'),
      id('user_id'),
      text('docker_id', 128),
      optional(text('run_as', 255)),
      text('program', 255),
      id('holder'),
      time('started_at'),
    ],
    indices: [index('held_programs_container', ['container_id', 'kind']), index('held_programs_holder', ['holder'])],
  }),
  new Table({
    name: 'events',
    columns: [primary(id('user_id')), primary(integer('seq')), text('type', 32), longText('data'), time('created_at')],
    indices: [index('events_created_at', ['created_at'])],
  }),
  new Table({
    name: 'idempotency_keys',
    columns: [
      primary(id('user_id')),
      primary(text('key', 255)),
      text('request_hash', 64),
      longText('answer'),
      id('container_id'),
      time('created_at'),
    ],
    indices: [index('idempotency_keys_created_at', ['created_at'])],
  }),
  new Table({
    name: 'audit_entries',
    columns: [
      primary(id('id')),
      time('at'),
      text('action', 64),
      text('outcome', 64),
      optional(id('user_id')),
      optional(id('token_id')),
      optional(id('subject_user_id')),
      optional(id('container_id')),
      optional(text('target_id', 128)),
      optional(text('address', 64)),
      optional(text('request_id', 128)),
      optional(time('finished_at')),
      optional(longText('detail')),
    ],
    indices: [
      index('audit_entries_at', ['at']),
      index('audit_entries_user_id', ['user_id', 'at']),
      index('audit_entries_subject_user_id', ['subject_user_id', 'at']),
      index('audit_entries_container_id', ['container_id', 'at']),
    ],
  }),
  new Table({
    name: 'images',
    columns: [
      primary(text('docker_id', 64)),
      primary(text('reference', 350)),
      primary(text('image_id', 80)),
      flag('brought'),
      optional(text('previous_id', 80)),
      time('checked_at'),
      time('used_at'),
    ],
    indices: [index('images_used_at', ['used_at'])],
  }),
  new Table({
    name: 'daily_usage',
    columns: [
      primary(id('user_id')),
      primary(time('day')),
      bigInteger('running_ms'),
      bigInteger('memory_mb_ms'),
      bigInteger('cpu_shares_ms'),
      bigInteger('disk_mb_ms'),
    ],
    indices: [index('daily_usage_day', ['day'])],
  }),
];

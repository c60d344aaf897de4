import { MigrationInterface, QueryRunner, Table, TableColumn, TableIndex } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

const text = (name: string, length: number) => ({ name, type: 'varchar', length: String(length) });
const optional = <T extends object>(column: T) => ({ ...column, isNullable: true });

/** Snapshots of containers, templates, and containers that are made from them. */
export class Snapshots1764910000000 implements MigrationInterface {
  name = 'Snapshots1764910000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.createTable(SNAPSHOTS);
    await queryRunner.createTable(TEMPLATES);
    await queryRunner.addColumns('containers', [
      new TableColumn(optional(text(SEED, 36))),
      new TableColumn({ name: KEPT, type: 'integer', default: 0 }),
      ...TEMPLATE.map((name) => new TableColumn(optional(text(name, 64)))),
    ]);
    await queryRunner.addColumn('daily_usage', new TableColumn({ name: USED, type: 'bigint', default: 0 }));
    await queryRunner.addColumn('warm_slots', new TableColumn({ name: KEPT, type: 'integer', default: 0 }));
    const where = `${SEED} IS NOT NULL`;
    await queryRunner.createIndex('containers', new TableIndex({ name: SEED_INDEX, columnNames: [SEED], where }));
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropColumn('daily_usage', USED);
    await queryRunner.dropIndex('containers', SEED_INDEX);
    await queryRunner.dropColumns('containers', [SEED, KEPT, ...TEMPLATE]);
    await queryRunner.dropColumn('warm_slots', KEPT);
    await queryRunner.dropTable(TEMPLATES);
    await queryRunner.dropTable(SNAPSHOTS);
  }
}

const SEED = 'seed_snapshot_id';
const KEPT = 'kept_layer_mb';
const USED = 'snapshot_mb_ms';
const TEMPLATE = ['template_name', 'template_version'];
const SEED_INDEX = 'containers_seed_snapshot';

const SNAPSHOTS = new Table({
  name: 'snapshots',
  columns: [
    { ...text('id', 36), isPrimary: true },
    text('user_id', 36),
    text('container_id', 36),
    optional(text('node_id', 64)),
    text('name', 64),
    optional(text('description', 1000)),
    { name: 'labels', type: 'text' },
    text('status', 16),
    optional(text('status_reason', 64)),
    { name: 'is_transient', type: 'boolean' },
    optional(text('only_copy_id', 36)),
    optional(text('copied_from_id', 36)),
    text('operation_id', 36),
    text('image', 255),
    optional(text('image_id', 80)),
    optional(text('image_digest', 80)),
    { name: 'root', type: 'boolean' },
    optional(text('layer_id', 80)),
    optional(text('role', 64)),
    { name: 'disk_mb', type: 'integer' },
    { name: 'data_bytes', type: 'bigint' },
    { name: 'layer_bytes', type: 'bigint' },
    { name: 'kept_layer_mb', type: 'integer' },
    optional({ name: 'downtime_ms', type: 'integer' }),
    { name: 'created_at', type: TIMESTAMP },
    { name: 'updated_at', type: TIMESTAMP },
    { name: 'is_clean', type: 'boolean' },
    optional({ name: 'metered_since', type: TIMESTAMP }),
  ],
  indices: [
    { name: 'snapshots_user', columnNames: ['user_id', 'created_at'] },
    { name: 'snapshots_container', columnNames: ['container_id'] },
    { name: 'snapshots_unclean', columnNames: ['status'], where: 'is_clean = false' },
  ],
});

const TEMPLATES = new Table({
  name: 'templates',
  columns: [
    { ...text('name', 64), isPrimary: true },
    text('version', 64),
    optional(text('description', 1000)),
    text('image', 255),
    optional(text('snapshot_id', 36)),
    optional(text('files_id', 36)),
    optional(text('node_id', 64)),
    { name: 'has_data', type: 'boolean' },
    { name: 'kept_layer_mb', type: 'integer' },
    optional({ name: 'memory_mb', type: 'integer' }),
    optional({ name: 'cpu_shares', type: 'integer' }),
    optional({ name: 'disk_mb', type: 'integer' }),
    optional({ name: 'start', type: 'text' }),
    optional(text('role', 64)),
    optional({ name: 'network', type: 'text' }),
    optional({ name: 'tiers', type: 'text' }),
    { name: 'created_at', type: TIMESTAMP },
    { name: 'updated_at', type: TIMESTAMP },
  ],
});

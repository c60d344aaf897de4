import { MigrationInterface, QueryRunner, Table, TableColumn, TableIndex } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

const CONTAINERS = 'containers';
const COLUMN = 'metered_since';

/** What users' containers use, by day. What is there already is metered from now on. */
export class Usage1764300050000 implements MigrationInterface {
  name = 'Usage1764300050000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.addColumn(CONTAINERS, new TableColumn({ name: COLUMN, type: TIMESTAMP, isNullable: true }));
    // In whole milliseconds, as all other times.
    const now = TIMESTAMP === 'datetime' ? "strftime('%Y-%m-%d %H:%M:%f', 'now')" : "date_trunc('milliseconds', now())";
    await queryRunner.query(
      `UPDATE containers SET ${COLUMN} = ${now} WHERE purged_at IS NULL AND status IN ('running', 'stopped')`,
    );
    await queryRunner.createIndex(CONTAINERS, METERED);
    await queryRunner.createTable(DAYS);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropTable(DAYS);
    await queryRunner.dropIndex(CONTAINERS, METERED);
    await queryRunner.dropColumn(CONTAINERS, COLUMN);
  }
}

const METERED = new TableIndex({
  name: 'containers_metered',
  columnNames: ['user_id', COLUMN],
  where: `${COLUMN} IS NOT NULL`,
});

const DAYS = new Table({
  name: 'daily_usage',
  columns: [
    { name: 'user_id', type: 'varchar', length: '36', isPrimary: true },
    { name: 'day', type: TIMESTAMP, isPrimary: true },
    { name: 'running_ms', type: 'bigint' },
    { name: 'memory_mb_ms', type: 'bigint' },
    { name: 'cpu_shares_ms', type: 'bigint' },
    { name: 'disk_mb_ms', type: 'bigint' },
  ],
  indices: [{ name: 'daily_usage_day', columnNames: ['day'] }],
});

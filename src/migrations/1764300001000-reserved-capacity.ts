import { MigrationInterface, QueryRunner, Table, TableColumn, TableIndex } from 'typeorm';

const CONTAINERS = 'containers';

/** What containers reserve of the machine, each and together. The defaults also serve an earlier version's inserts. */
export class ReservedCapacity1764300001000 implements MigrationInterface {
  name = 'ReservedCapacity1764300001000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.addColumns(CONTAINERS, RESERVED);
    await queryRunner.query(
      `UPDATE containers SET reserved_memory_mb = memory_mb, reserved_cpu_shares = cpu_shares
       WHERE deleted_at IS NULL AND status IN ('running', 'creating')`,
    );
    await queryRunner.createIndex(CONTAINERS, RESERVING);
    await queryRunner.createTable(SUMS);
    await queryRunner.query(
      `INSERT INTO reserved_capacity (node, memory_mb, cpu_shares)
       SELECT 'local', COALESCE(SUM(reserved_memory_mb), 0), COALESCE(SUM(reserved_cpu_shares), 0) FROM containers`,
    );
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropTable(SUMS);
    await queryRunner.dropIndex(CONTAINERS, RESERVING);
    await queryRunner.dropColumns(CONTAINERS, RESERVED);
  }
}

const RESERVED = ['reserved_memory_mb', 'reserved_cpu_shares'].map(
  (name) => new TableColumn({ name, type: 'integer', default: 0 }),
);

const RESERVING = new TableIndex({
  name: 'containers_reserving',
  columnNames: ['id'],
  where: 'reserved_memory_mb > 0',
});

const SUMS = new Table({
  name: 'reserved_capacity',
  columns: [
    { name: 'node', type: 'varchar', length: '64', isPrimary: true },
    { name: 'memory_mb', type: 'integer' },
    { name: 'cpu_shares', type: 'integer' },
  ],
});

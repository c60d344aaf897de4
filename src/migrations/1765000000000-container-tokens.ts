import { MigrationInterface, QueryRunner, TableColumn, TableIndex } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

/** A token can be limited to one container and its forks, so a fork keeps the container that it was made from. */
export class ContainerTokens1765000000000 implements MigrationInterface {
  name = 'ContainerTokens1765000000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.addColumns('tokens', [
      new TableColumn({ name: 'container_id', type: 'varchar', length: '36', isNullable: true }),
      new TableColumn({ name: 'with_forks', type: 'boolean', default: TIMESTAMP === 'datetime' ? '0' : 'false' }),
    ]);
    await queryRunner.createIndex('tokens', new TableIndex({ ...OF_TOKENS, where: 'container_id IS NOT NULL' }));
    const forkedFrom = new TableColumn({ name: 'forked_from', type: 'varchar', length: '36', isNullable: true });
    await queryRunner.addColumn('containers', forkedFrom);
    await queryRunner.createIndex('containers', new TableIndex({ ...OF_FORKS, where: 'forked_from IS NOT NULL' }));
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropIndex('containers', OF_FORKS.name);
    await queryRunner.dropColumn('containers', 'forked_from');
    await queryRunner.dropIndex('tokens', OF_TOKENS.name);
    await queryRunner.dropColumns('tokens', ['container_id', 'with_forks']);
  }
}

const OF_TOKENS = { name: 'tokens_container_id', columnNames: ['container_id'] };
const OF_FORKS = { name: 'containers_forked_from', columnNames: ['forked_from'] };

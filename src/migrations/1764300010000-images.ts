import { MigrationInterface, QueryRunner, Table, TableColumn, TableColumnOptions } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

const text = (name: string, length: number): TableColumnOptions => ({ name, type: 'varchar', length: String(length) });

/** Which images Berth brought, and from which version of its image each container was created. */
export class Images1764300010000 implements MigrationInterface {
  name = 'Images1764300010000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.createTable(IMAGES, true);
    await queryRunner.addColumns('containers', [
      new TableColumn({ ...text('image_id', 80), isNullable: true }),
      new TableColumn({ ...text('image_digest', 80), isNullable: true }),
    ]);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropColumns('containers', ['image_digest', 'image_id']);
    await queryRunner.dropTable('images');
  }
}

const IMAGES = new Table({
  name: 'images',
  columns: [
    { ...text('docker_id', 64), isPrimary: true },
    { ...text('reference', 350), isPrimary: true },
    { ...text('image_id', 80), isPrimary: true },
    { name: 'brought', type: 'boolean' },
    { ...text('previous_id', 80), isNullable: true },
    { name: 'checked_at', type: TIMESTAMP },
    { name: 'used_at', type: TIMESTAMP },
  ],
  indices: [{ name: 'images_used_at', columnNames: ['used_at'] }],
});

import { MigrationInterface, QueryRunner, TableColumn } from 'typeorm';

/** What was done inside a container: the program's name, or the bytes of a file. */
export class AuditDetail1764300090000 implements MigrationInterface {
  name = 'AuditDetail1764300090000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.addColumn('audit_entries', new TableColumn({ name: 'detail', type: 'text', isNullable: true }));
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.dropColumn('audit_entries', 'detail');
  }
}

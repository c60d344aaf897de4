import { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * The scope `exec` for tokens that could do everything with their user's own containers before there was one: those of
 * `read` and `write`. Not for tokens of `admin`, which must not come to more unasked; nor for those of one scope, which
 * somebody chose to be weak.
 */
export class ExecScope1764300065000 implements MigrationInterface {
  name = 'ExecScope1764300065000';

  async up(queryRunner: QueryRunner): Promise<void> {
    // As `simple-json` writes them. All that was ever made of these two, as no scope can be named twice.
    await queryRunner.query(
      `UPDATE tokens SET scopes = '["read","write","exec"]'
       WHERE scopes IN ('["read","write"]', '["write","read"]') AND revoked_at IS NULL`,
    );
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`UPDATE tokens SET scopes = '["read","write"]' WHERE scopes = '["read","write","exec"]'`);
  }
}

import { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * No two users have names that differ in case alone. Of those that do, a user comes before a guest and the older one
 * before the younger; the others get "~" and their id behind their name, as a deleted user does. They keep their tokens
 * and containers.
 */
export class NamesInAnyCase1764740000000 implements MigrationInterface {
  name = 'NamesInAnyCase1764740000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    const isPostgres = queryRunner.dataSource.options.type === 'postgres';
    // Under the database's own locale PostgreSQL may lower an "I" to another letter than "i".
    const lower = isPostgres ? 'lower(username COLLATE "C")' : 'lower(username)';
    const same = (await queryRunner.query(
      `SELECT id, username, ${lower} AS name FROM users
       WHERE ${lower} IN (SELECT ${lower} FROM users GROUP BY ${lower} HAVING count(*) > 1)
       ORDER BY ${lower}, CASE WHEN tier = 'guest' THEN 1 ELSE 0 END, created_at, id`,
    )) as { id: string; username: string; name: string }[];
    for (const [at, { id, username, name }] of same.entries()) {
      if (same[at - 1]?.name !== name) continue;
      const values = isPostgres ? ['$1', '$2'] : ['?', '?'];
      await queryRunner.query(`UPDATE users SET username = ${values[0]} WHERE id = ${values[1]}`, [
        `${username.slice(0, 27)}~${id}`,
        id,
      ]);
    }
    await queryRunner.query(`CREATE UNIQUE INDEX users_username_lower ON users (${lower})`);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('DROP INDEX users_username_lower');
  }
}

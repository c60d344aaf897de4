import type { Database } from './database';
import { isAbsentSql, type ProcessPresence } from './process-presence';
import { sql } from './sql';

/**
 * The lead of a task that one process at a time does, of all that share the database. A setting names the process that
 * has it; another process takes it over once that one shows no presence. On SQLite the only process always has it.
 */
export class TaskLead {
  /** @param key of the setting */
  constructor(
    private readonly database: Database,
    private readonly presence: ProcessPresence,
    private readonly key: string,
  ) {}

  /** Takes the lead if no other present process has it. @returns whether this process has it */
  async take(): Promise<boolean> {
    if (this.database.isSqlite || (await this.isHeld())) return true;
    const { affected } = await this.database.run(sql`
      INSERT INTO settings (key, value) VALUES (${this.key}, ${this.presence.holder})
      ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE ${sql.raw(isAbsentSql('settings.value'))}`);
    return affected === 1;
  }

  /** Leaves the task to another process, if this one has the lead. */
  async resign(): Promise<void> {
    if (this.database.isSqlite) return;
    const { key, presence } = this;
    await this.database.run(sql`DELETE FROM settings WHERE key = ${key} AND value = ${presence.holder}`);
  }

  /** @param how `locked` keeps other processes from taking the lead during the transaction */
  async isHeld(how: 'locked' | 'now' = 'now'): Promise<boolean> {
    if (this.database.isSqlite) return true;
    const lock = how === 'locked' ? sql`FOR UPDATE` : sql``;
    const statement = sql`SELECT value FROM settings WHERE key = ${this.key} ${lock}`;
    const [setting] = (await this.database.run<{ value: string }>(statement)).rows;
    return setting?.value === this.presence.holder;
  }
}

import type { Database } from './database';
import { isAbsentSql, type ProcessPresence } from './process-presence';

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
    const taken = await this.database.manager.query<unknown[]>(
      `INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value
       WHERE ${isAbsentSql('settings.value')} RETURNING 1`,
      [this.key, this.presence.holder],
    );
    return taken.length === 1;
  }

  /** Leaves the task to another process, if this one has the lead. */
  async resign(): Promise<void> {
    if (this.database.isSqlite) return;
    const { key, presence } = this;
    await this.database.manager.query('DELETE FROM settings WHERE key = $1 AND value = $2', [key, presence.holder]);
  }

  /** @param lock keeps other processes from taking the lead during the transaction */
  async isHeld(lock: '' | 'FOR UPDATE' = ''): Promise<boolean> {
    if (this.database.isSqlite) return true;
    const sql = `SELECT value FROM settings WHERE key = $1 ${lock}`;
    const [setting] = await this.database.manager.query<{ value: string }[]>(sql, [this.key]);
    return setting?.value === this.presence.holder;
  }
}

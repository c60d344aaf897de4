// Must be the first import: the entities' column types depend on it.
import '../support/databases/database-sqlite';
import { lockSqlite } from './database-faults';
import { describeRun } from './describe-run';
import type { Parts } from './fault-injector';
import { SQLITE_FAULTS } from './fault-schedule';
import { processKill } from './process-faults';
import { SQLITE_RUN } from './setting';

describeRun('operations on SQLite under faults', {
  setting: SQLITE_RUN,
  times: SQLITE_FAULTS,
  actions: (parts: Parts) => ({
    process_kill: () => processKill(parts),
    database_locked: (begin) => parts.turns.take('database', () => lockSqlite(parts), begin),
  }),
});

import type BetterSqlite3 from 'better-sqlite3';
import { chmodSync, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DataSource, DataSourceOptions } from 'typeorm';
import { AgentEntity } from './src/agents/agent.entity';
import { AuditEntryEntity } from './src/audit/audit-entry.entity';
import { SignInCodeEntity } from './src/auth/sign-in-codes';
import { TokenEntity } from './src/auth/token.entity';
import { UserEntity } from './src/auth/user.entity';
import { loadConfig } from './src/config';
import { ReservedCapacityEntity } from './src/containers/rows/reserved-capacity';
import { ContainerEntity, DockerIdEntity } from './src/containers/model/container.entity';
import { IdempotencyKeyEntity } from './src/idempotency/idempotency-keys';
import { NodeEntity, PlacementEntity } from './src/containers/model/node.entity';
import { sessionOptions, unbounded } from './src/database/postgres-sessions';
import { SettingEntity } from './src/database/setting.entity';
import { EventEntity } from './src/events/log';
import { ImageEntity } from './src/images/image-records';
import { InitialSchema1764000000000 } from './src/migrations/1764000000000-initial-schema';
import { SessionsAndRoles1764100000000 } from './src/migrations/1764100000000-sessions-and-roles';
import { Agents1764100001000 } from './src/migrations/1764100001000-agents';
import { IdempotencyKeys1764100002000 } from './src/migrations/1764100002000-idempotency-keys';
import { Runs1764100003000 } from './src/migrations/1764100003000-runs';
import { Audit1764100009000 } from './src/migrations/1764100009000-audit';
import { ClaimHolders1764200002000 } from './src/migrations/1764200002000-claim-holders';
import { Labels1764200004000 } from './src/migrations/1764200004000-labels';
import { NetworkPolicies1764300002000 } from './src/migrations/1764300002000-network-policies';
import { ReservedCapacity1764300001000 } from './src/migrations/1764300001000-reserved-capacity';
import { Images1764300010000 } from './src/migrations/1764300010000-images';
import { AbandonedContainers1764300020000 } from './src/migrations/1764300020000-abandoned-containers';
import { PendingRemovals1764300030000 } from './src/migrations/1764300030000-pending-removals';
import { SuspendedUsers1764300040000 } from './src/migrations/1764300040000-suspended-users';
import { Usage1764300050000 } from './src/migrations/1764300050000-usage';
import { ExecScope1764300065000 } from './src/migrations/1764300065000-exec-scope';
import { HeldPrograms1764300070000 } from './src/migrations/1764300070000-held-programs';
import { StartCommands1764300080000 } from './src/migrations/1764300080000-start-commands';
import { AuditDetail1764300090000 } from './src/migrations/1764300090000-audit-detail';
import { NodesOfContainers1764400000000 } from './src/migrations/1764400000000-nodes-of-containers';
import { Nodes1764400010000 } from './src/migrations/1764400010000-nodes';
import { SignInCodes1764600000000 } from './src/migrations/1764600000000-sign-in-codes';
import { Moves1764700000000 } from './src/migrations/1764700000000-moves';
import { NodeVersions1764710000000 } from './src/migrations/1764710000000-node-versions';
import { SilentNodes1764720000000 } from './src/migrations/1764720000000-silent-nodes';
import { OpenNodes1764730000000 } from './src/migrations/1764730000000-open-nodes';
import { NamesInAnyCase1764740000000 } from './src/migrations/1764740000000-names-in-any-case';
import { SickNodes1764750001000 } from './src/migrations/1764750001000-sick-nodes';
import { FormerNodes1764750002000 } from './src/migrations/1764750002000-former-nodes';
import { HeldProgramEntity } from './src/sandbox/program-registry';
import { DailyUsageEntity } from './src/usage/usage-ledger';

/**
 * The schema and the connection, for the server, the command line and the tests alike.
 *
 * @param leaseSeconds the term of a lease on a container, which what is done on PostgreSQL is bounded by
 */
export function dataSourceOptions(databaseUrl: string, leaseSeconds = 30): DataSourceOptions {
  const schema = {
    entities: [
      UserEntity,
      TokenEntity,
      SignInCodeEntity,
      AgentEntity,
      ContainerEntity,
      DockerIdEntity,
      ReservedCapacityEntity,
      NodeEntity,
      PlacementEntity,
      EventEntity,
      SettingEntity,
      IdempotencyKeyEntity,
      AuditEntryEntity,
      ImageEntity,
      DailyUsageEntity,
      HeldProgramEntity,
    ],
    migrations: [
      InitialSchema1764000000000,
      SessionsAndRoles1764100000000,
      Agents1764100001000,
      IdempotencyKeys1764100002000,
      Runs1764100003000,
      Audit1764100009000,
      ClaimHolders1764200002000,
      Labels1764200004000,
      ReservedCapacity1764300001000,
      NetworkPolicies1764300002000,
      Images1764300010000,
      AbandonedContainers1764300020000,
      PendingRemovals1764300030000,
      SuspendedUsers1764300040000,
      Usage1764300050000,
      ExecScope1764300065000,
      HeldPrograms1764300070000,
      StartCommands1764300080000,
      AuditDetail1764300090000,
      NodesOfContainers1764400000000,
      Nodes1764400010000,
      SignInCodes1764600000000,
      Moves1764700000000,
      NodeVersions1764710000000,
      SilentNodes1764720000000,
      OpenNodes1764730000000,
      NamesInAnyCase1764740000000,
      SickNodes1764750001000,
      FormerNodes1764750002000,
    ],
    synchronize: false,
  };
  if (!databaseUrl.startsWith('sqlite:')) {
    return { type: 'postgres', url: databaseUrl, extra: sessionOptions(leaseSeconds), ...schema };
  }
  const database = databaseUrl.slice('sqlite:'.length);
  if (database !== ':memory:') mkdirSync(dirname(database), { recursive: true, mode: 0o700 });
  return { type: 'better-sqlite3', database, prepareDatabase, ...schema };
}

/** Users' secrets are in it. Before anything is written, as SQLite gives the files beside it the same mode. */
function closeToOthers(file: string): void {
  const { mode, uid } = statSync(file);
  if ((mode & 0o007) !== 0 && (uid === process.getuid?.() || process.getuid?.() === 0)) chmodSync(file, mode & 0o770);
}

/** WAL: readers never wait for the writer, and with NORMAL a killed process loses nothing that was committed. */
function prepareDatabase(connection: BetterSqlite3.Database): void {
  if (!connection.memory) closeToOthers(connection.name);
  connection.pragma('journal_mode = WAL');
  connection.pragma('synchronous = NORMAL');
}

/** What TypeORM's own command line reads. */
export default new DataSource(unbounded(dataSourceOptions(loadConfig().DATABASE_URL)));

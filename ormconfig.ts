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
import { WarmSlotEntity } from './src/containers/model/warm-slot.entity';
import { SnapshotEntity } from './src/containers/model/snapshot.entity';
import { sessionOptions, unbounded } from './src/database/postgres-sessions';
import { SettingEntity } from './src/database/setting.entity';
import { EventEntity } from './src/events/log';
import { ImageEntity } from './src/images/image-records';
import { TemplateEntity } from './src/images/template.entity';
import { InitialSchema1764800000000 } from './src/migrations/1764800000000-initial-schema';
import { PausedContainers1764810000000 } from './src/migrations/1764810000000-paused-containers';
import { WarmSlots1764900000000 } from './src/migrations/1764900000000-warm-slots';
import { Snapshots1764910000000 } from './src/migrations/1764910000000-snapshots';
import { Webhooks1764920000000 } from './src/migrations/1764920000000-webhooks';
import { Previews1764930000000 } from './src/migrations/1764930000000-previews';
import { PreviewLinkEntity, PublicPortEntity } from './src/previews/preview.entities';
import { Ssh1764940000000 } from './src/migrations/1764940000000-ssh';
import { Processes1764950000000 } from './src/migrations/1764950000000-processes';
import { E2b1764970000000 } from './src/migrations/1764970000000-e2b';
import { E2bSandboxEntity } from './src/e2b/e2b-sandbox.entity';
import { Lifetimes1764960000000 } from './src/migrations/1764960000000-lifetimes';
import { ContainerTokens1765000000000 } from './src/migrations/1765000000000-container-tokens';
import { OpenIdConnect1765100000000 } from './src/migrations/1765100000000-openid-connect';
import { OpenIdIdentityEntity } from './src/oidc/identities';
import { ProcessEntity } from './src/sandbox/processes/process-rows';
import { WebhookCursorEntity, WebhookDeliveryEntity, WebhookEntity } from './src/webhooks/webhook.entity';
import { SshHostKeyEntity, SshKeyEntity } from './src/ssh/ssh.entities';
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
      OpenIdIdentityEntity,
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
      ProcessEntity,
      WarmSlotEntity,
      SnapshotEntity,
      TemplateEntity,
      WebhookEntity,
      WebhookCursorEntity,
      WebhookDeliveryEntity,
      PreviewLinkEntity,
      PublicPortEntity,
      SshKeyEntity,
      SshHostKeyEntity,
      E2bSandboxEntity,
    ],
    migrations: [
      InitialSchema1764800000000,
      PausedContainers1764810000000,
      WarmSlots1764900000000,
      Snapshots1764910000000,
      Webhooks1764920000000,
      Previews1764930000000,
      Ssh1764940000000,
      Processes1764950000000,
      Lifetimes1764960000000,
      E2b1764970000000,
      ContainerTokens1765000000000,
      OpenIdConnect1765100000000,
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

import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { runTokenCommand } from '../../../src/cli/token-command';
import { parseConfig } from '../../../src/config';
import { ApiClient } from '../clients/api-client';
import { BerthProcess } from './berth-process';
import { EventRecorder } from '../clients/socket-client';
import { RealDocker } from '../docker/real-docker';
import { openTestDatabase, TestDatabase, testRedisUrl } from '../databases/test-database';

/** Real server processes of one Berth: the same PostgreSQL database, the same Redis, the same Docker. */
export class Cluster {
  readonly docker = new RealDocker();
  private readonly recorders: EventRecorder[] = [];
  /** The tests' own database connection. */
  private outside: Promise<Client> | undefined;

  private constructor(
    readonly servers: readonly [BerthProcess, ...BerthProcess[]],
    private readonly database: TestDatabase,
    /** The settings that every server gets. */
    readonly environment: Readonly<Record<string, string>>,
  ) {}

  /** @param subject the subject of the test file */
  static async start(
    subject: string,
    { processes = 3, environment = {}, own = [], onOutput }: ClusterOptions = {},
  ): Promise<Cluster> {
    const database = await openTestDatabase();
    const all = {
      DATABASE_URL: database.url,
      REDIS_URL: testRedisUrl(),
      INSTANCE_ID: `test-${subject}-${process.pid}`,
      // What several processes promise does not depend on the runtime, and starts cost much less.
      SANDBOX_RUNTIME: 'runc',
      ...environment,
    };
    const servers = Array.from({ length: processes }, (_none, index) => new BerthProcess({ ...all, ...own[index] }));
    await Promise.all(servers.map((server) => server.start({ ...(onOutput && { onOutput }) })));
    return new Cluster(servers as [BerthProcess, ...BerthProcess[]], database, all);
  }

  /** @returns a new user, as a client of each server */
  async user(tier = 'enterprise', more: readonly string[] = []): Promise<[ApiClient, ...ApiClient[]]> {
    const name = `user-${randomUUID().slice(0, 8)}`;
    const config = parseConfig({ DATABASE_URL: this.database.url });
    const { stdout } = await runTokenCommand(['--user', name, '--tier', tier, ...more], config);
    return this.clients(stdout.trim());
  }

  /** Clients of each server with this token. */
  clients(token: string): [ApiClient, ...ApiClient[]] {
    return this.servers.map(({ url }) => new ApiClient(url, token)) as [ApiClient, ...ApiClient[]];
  }

  /** Records the events that a server sends to a socket connected with `after` (from now if absent). */
  async record({ url, token }: ApiClient, after?: number): Promise<EventRecorder> {
    const recorder = new EventRecorder(url, { token, after });
    this.recorders.push(recorder);
    return recorder.connected();
  }

  /** Queries or changes the database behind the servers' back, for example to let time pass. @returns the rows */
  async sql(statement: string, values: readonly unknown[]): Promise<Record<string, unknown>[]> {
    this.outside ??= this.connect();
    return (await (await this.outside).query<Record<string, unknown>>(statement, [...values])).rows;
  }

  /** Leaves nothing in Docker and no database. */
  async stop(): Promise<void> {
    for (const recorder of this.recorders) recorder.close();
    await Promise.all(this.servers.map((server) => server.stop()));
    await this.docker.removeInstance(this.environment['INSTANCE_ID'] ?? '');
    await (await this.outside)?.end();
    await this.database.drop();
  }

  private async connect(): Promise<Client> {
    const client = new Client({ connectionString: this.database.url });
    await client.connect();
    return client;
  }
}

interface ClusterOptions {
  readonly processes?: number;
  readonly environment?: Readonly<Record<string, string>>;
  /** Additional settings of each server, in order. */
  readonly own?: readonly Readonly<Record<string, string>>[];
  /** Called with their output. */
  readonly onOutput?: (chunk: Buffer) => void;
}

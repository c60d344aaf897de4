import type { Type } from '@nestjs/common';
import { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { randomUUID } from 'node:crypto';
import { AppModule } from '../../../src/app.module';
import { setUpApp, startApp } from '../../../src/app.setup';
import { type Scope, TokenService, UserService, USUAL_SCOPES } from '../../../src/auth';
import { type Config, CONFIG, parseConfig } from '../../../src/config';
import { ContainerEngine } from '../../../src/engine';
import { createHttpAdapter } from '../../../src/http';
import { Clock } from '../../../src/scheduling/clock';
import { ApiClient } from '../clients/api-client';
import { EventRecorder } from '../clients/socket-client';
import { openTestDatabase, TestDatabase } from '../databases/test-database';
import { RealDocker } from '../docker/real-docker';
import { NO_LIMITS } from './no-limits';

/** What a test may set; the rest is as with `npm start`. */
export interface BerthOptions {
  /** Shared by servers of one Berth; a new database if absent. */
  readonly database?: TestDatabase;
  readonly environment?: Readonly<Record<string, string>>;
  /** Replaces real Docker. */
  readonly engine?: ContainerEngine;
  /** Replaces the system clock. */
  readonly clock?: Clock;
  /** Modules in addition to Berth's own. */
  readonly modules?: readonly Type[];
  /** For a server on real Docker: the subject of the test file. When it stops, nothing is left in Docker. */
  readonly subject?: string;
}

/** Many operations on one container, each under gVisor, wait for each other. */
export const LONG_WAIT = { OPERATION_WAIT_SECONDS: '60' } as const;

/** A user with a token, as a client of one server. */
export interface TestUser {
  readonly id: string;
  readonly token: string;
  readonly api: ApiClient;
}

/** A user that the test created, with one token. */
export interface NewUser extends TestUser {
  readonly username: string;
  readonly tokenId: string;
}

/** A whole server on a free port, with real sockets. */
export class Berth {
  /** The tests' own access to Docker. */
  readonly docker = new RealDocker();
  private readonly recorders: EventRecorder[] = [];

  private constructor(
    readonly app: NestFastifyApplication,
    readonly url: string,
    readonly database: TestDatabase,
    private readonly options: BerthOptions,
  ) {}

  static async start(options: BerthOptions = {}): Promise<Berth> {
    const database = options.database ?? (await openTestDatabase());
    const { subject, environment } = options;
    const own = subject === undefined ? {} : { INSTANCE_ID: instanceOf(subject), ...LONG_WAIT };
    const config = parseConfig({
      NODE_ENV: 'test',
      PORT: '0',
      DATABASE_URL: database.url,
      SECRETS_KEY: process.env['SECRETS_KEY'],
      LOG_LEVEL: process.env['TEST_LOG_LEVEL'] ?? 'silent',
      DOCKER_HOST: process.env['DOCKER_HOST'],
      SANDBOX_RUNTIME: process.env['SANDBOX_RUNTIME'] ?? 'runsc',
      INSTANCE_ID: `test-${randomUUID()}`,
      ORPHAN_GRACE_SECONDS: '0',
      SANDBOX_PROOF: 'off',
      WARM_POOL: 'off',
      STATS_HISTORY: 'off',
      ...NO_LIMITS,
      ...own,
      ...environment,
    });
    const app =
      (options.engine ?? options.clock ?? options.modules) ? await startWith(options, config) : await startApp(config);
    return new Berth(app, await app.getUrl(), database, options);
  }

  /** Its id in the labels of Docker's objects. */
  get instance(): string {
    return this.app.get<Config>(CONFIG).INSTANCE_ID ?? '';
  }

  /** A new user. */
  async user(
    tier = 'pro',
    scopes: readonly Scope[] = USUAL_SCOPES,
    { expiresAt = null }: { expiresAt?: Date | null } = {},
  ): Promise<NewUser> {
    const username = `user-${randomUUID().slice(0, 8)}`;
    const { user } = await this.app.get(UserService).ensure({ username, tier });
    const issued = { userId: user.id, name: 'test', scopes, expiresAt };
    const { text, token } = await this.app.get(TokenService).issue(issued);
    return { id: user.id, username, token: text, tokenId: token.id, api: new ApiClient(this.url, text) };
  }

  /** A new user, with a recorder of their events. */
  async newcomer(tier?: string): Promise<{ user: TestUser; events: EventRecorder }> {
    const user = await this.user(tier);
    return { user, events: await this.record(user) };
  }

  /** The same user as a client of this server, one of the same Berth. */
  as(user: TestUser): TestUser {
    return { ...user, api: new ApiClient(this.url, user.token) };
  }

  /** Records a user's events after `after` (from now if absent) as a Socket.IO client receives them. */
  async record(user: TestUser, after?: number): Promise<EventRecorder> {
    const recorder = new EventRecorder(this.url, { token: user.token, after });
    this.recorders.push(recorder);
    return recorder.connected();
  }

  /** @returns why a token's socket is refused */
  async refusal({ token }: { readonly token: string }): Promise<string | undefined> {
    const recorder = new EventRecorder(this.url, { token });
    this.recorders.push(recorder);
    return recorder.refused();
  }

  async stop(): Promise<void> {
    for (const recorder of this.recorders) recorder.close();
    const { instance } = this;
    await this.app.close();
    if (this.options.subject !== undefined) await this.docker.removeInstance(instance);
    if (this.options.database === undefined) await this.database.drop();
  }
}

function instanceOf(subject: string): string {
  return `test-${subject}-${String(process.pid)}-${process.env['TEST_DATABASE'] ?? ''}`;
}

async function startWith(
  { engine, clock, modules = [] }: BerthOptions,
  config: Config,
): Promise<NestFastifyApplication> {
  const builder = Test.createTestingModule({ imports: [AppModule.forRoot(config), ...modules] });
  if (engine) builder.overrideProvider(ContainerEngine).useValue(engine);
  if (clock) builder.overrideProvider(Clock).useValue(clock);
  const module = await builder.compile();
  const app = module.createNestApplication<NestFastifyApplication>(createHttpAdapter(config), { logger: false });
  setUpApp(app);
  try {
    await app.listen(config.PORT, config.HOST);
  } catch (error) {
    await app.close().catch(() => undefined);
    throw error;
  }
  return app;
}

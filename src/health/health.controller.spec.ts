import { Global, Module } from '@nestjs/common';
import { NestFastifyApplication } from '@nestjs/platform-fastify';
import { TerminusModule } from '@nestjs/terminus';
import { Test } from '@nestjs/testing';
import { ConfigModule, parseConfig } from '../config';
import { Database } from '../database';
import { ContainerEngine, EngineIdentity } from '../engine';
import { createHttpAdapter, Draining, HttpModule, setUpHttp } from '../http';
import { LoggingModule } from '../logging';
import { RedisConnection } from '../signals';
import { HealthController } from './health.controller';
import { ReadinessCheck } from './readiness';

type Ping = () => Promise<void>;
const up: Ping = () => Promise.resolve();
const down: Ping = () => Promise.reject(new Error('connect /var/run/docker.sock'));
const silent: Ping = () => new Promise(() => undefined);

let app: NestFastifyApplication;
let disk: { diskMb: number; freeDiskMb: number } | null = null;

afterEach(async () => {
  disk = null;
  await app.close();
});

/** @param pings redis null: not configured */
async function start(pings: { database?: Ping; docker?: Ping; redis?: Ping | null }): Promise<NestFastifyApplication> {
  const { database = up, docker = up, redis = null } = pings;

  @Global()
  @Module({
    providers: [
      { provide: Database, useValue: { checkWrites: database, unanswered: () => new Error('no answer') } },
      {
        provide: ContainerEngine,
        useValue: {
          host: {
            ping: docker,
            resources: () => Promise.resolve(disk ?? { diskMb: null, freeDiskMb: null }),
            capabilities: {
              runtime: 'runsc',
              diskQuota: 'enforced',
              hostFirewall: 'unsupported',
              allowLists: 'unsupported',
            },
          },
        },
      },
      { provide: RedisConnection, useValue: redis && { ping: redis } },
      EngineIdentity,
    ],
    exports: [Database, ContainerEngine, EngineIdentity, RedisConnection],
  })
  class DependenciesModule {}

  const module = await Test.createTestingModule({
    imports: [
      ConfigModule.forRoot(parseConfig({ LOG_LEVEL: 'silent' })),
      LoggingModule,
      HttpModule,
      DependenciesModule,
      TerminusModule.forRoot({ logger: false }),
    ],
    controllers: [HealthController],
    providers: [ReadinessCheck],
  }).compile();
  app = module.createNestApplication<NestFastifyApplication>(createHttpAdapter(), { logger: false });
  setUpHttp(app);
  await app.init();
  return app;
}

async function get(path: string): Promise<[number, Record<string, unknown>]> {
  const response = await app.inject({ method: 'GET', url: path });
  return [response.statusCode, response.json<Record<string, unknown>>()];
}

const found = {
  runtime: 'runsc',
  disk_quota: 'enforced',
  host_firewall: 'unsupported',
  allow_lists: 'unsupported',
  hosts: 'listed',
  docker_identity: null,
  sandbox_proof: null,
  idle_sandbox: null,
  disk: null,
  notices: [],
};

describe('readiness', () => {
  it('must be reported where everything answers', async () => {
    await start({ redis: up });
    expect(await get('/health/ready')).toEqual([
      200,
      { status: 'ok', checks: { database: 'up', docker: 'up', redis: 'up' }, ...found },
    ]);
  });

  it('must be degraded, and say what to do, while Docker is not the one that the containers are in', async () => {
    const server = await start({});
    server.get(EngineIdentity).note('changed');
    const [status, body] = await get('/health/ready');
    expect([status, body['status'], body['docker_identity']]).toEqual([200, 'degraded', 'changed']);
    expect(body['notices']).toEqual([expect.stringContaining('POST /api/admin/docker/accept')]);
    server.get(EngineIdentity).note('same');
    expect((await get('/health/ready'))[1]).toMatchObject({ status: 'ok', docker_identity: 'same', notices: [] });
  });

  it("must be degraded while the disk of Docker's data is fuller than the watermark, and always show what is free", async () => {
    disk = { diskMb: 102_400, freeDiskMb: 16_384 };
    await start({});
    const shown = { total_mb: 102_400, free_mb: 16_384 };
    expect((await get('/health/ready'))[1]).toMatchObject({ status: 'ok', disk: shown, notices: [] });
    disk = { diskMb: 102_400, freeDiskMb: 14_336 };
    const [status, body] = await get('/health/ready');
    expect([status, body['status']]).toEqual([200, 'degraded']);
    expect(body['notices']).toEqual([expect.stringMatching(/86 % full.*IMAGE_DISK_WATERMARK is 85/)]);
  });

  it('must be degraded, and say what to do, where the sandbox that was tried at start lacks something', async () => {
    const identity = (await start({})).get(EngineIdentity);
    identity.noteProof('proving');
    expect((await get('/health/ready'))[1]).toMatchObject({ status: 'ok', sandbox_proof: 'proving', notices: [] });
    identity.noteProof({ state: 'failed', faults: { names: 'set SANDBOX_DNS' }, untried: [], idleCores: null });
    const [status, body] = await get('/health/ready');
    expect(status).toBe(200);
    expect(body).toMatchObject({ status: 'degraded', sandbox_proof: 'failed', notices: ['set SANDBOX_DNS'] });
    identity.noteProof({ state: 'unproved', faults: {}, untried: ['no image is here'], idleCores: null });
    expect((await get('/health/ready'))[1]).toMatchObject({ status: 'ok', sandbox_proof: 'unproved', notices: [] });
  });

  it.each([
    [0.0004, 0, null],
    [0.0094, 9, null],
    [0.0281, 28, expect.stringMatching(/uses 2\.8 % of a CPU core.*IDLE_STOP_AFTER/)],
  ])(
    'must show that an idle sandbox uses %d cores, with an advice from 1 %% on, and be ok',
    async (cores, shares, advice) => {
      const identity = (await start({})).get(EngineIdentity);
      identity.noteProof({ state: 'proved', faults: {}, untried: [], idleCores: cores });
      const idle = { cpu_shares: shares, advice };
      expect((await get('/health/ready'))[1]).toMatchObject({ status: 'ok', idle_sandbox: idle, notices: [] });
    },
  );

  it('must not ask for a Redis that is not configured', async () => {
    await start({});
    expect(await get('/health/ready')).toEqual([
      200,
      { status: 'ok', checks: { database: 'up', docker: 'up' }, ...found },
    ]);
  });

  it.each<[string, Parameters<typeof start>[0], object]>([
    ['database', { database: down }, { database: 'down', docker: 'up' }],
    ['docker', { docker: down }, { database: 'up', docker: 'down' }],
    ['redis', { redis: down }, { database: 'up', docker: 'up', redis: 'down' }],
    ['database and docker', { database: down, docker: down }, { database: 'down', docker: 'down' }],
  ])('must be refused with the name of what is down: %s', async (_name, pings, checks) => {
    await start(pings);
    const [status, body] = await get('/health/ready');
    expect(status).toBe(503);
    expect(body).toEqual({
      error: 'not ready',
      code: 'not_ready',
      request_id: expect.any(String) as unknown,
      status: 'error',
      checks,
      ...found,
      reasons: Object.fromEntries(
        Object.entries(checks)
          .filter(([, state]) => state === 'down')
          .map(([name]) => [name, 'unavailable']),
      ),
    });
  });

  it.each<[string, string]>([
    ['25006', 'database_read_only'],
    ['SQLITE_READONLY', 'database_read_only'],
    ['53100', 'storage_full'],
    ['SQLITE_FULL', 'storage_full'],
    ['SQLITE_BUSY', 'database_busy'],
  ])('must say why no write works: %s is %s', async (code, reason) => {
    await start({ database: () => Promise.reject(Object.assign(new Error('no write'), { code })) });
    const [status, body] = await get('/health/ready');
    expect([status, body['checks'], body['reasons']]).toEqual([
      503,
      { database: 'down', docker: 'up' },
      { database: reason },
    ]);
  });

  it('must not wait longer than 2 seconds for what does not answer', async () => {
    await start({ docker: silent, database: silent });
    const timers = jest.spyOn(globalThis, 'setTimeout');
    const [status, body] = await get('/health/ready');
    expect(timers).toHaveBeenCalledWith(expect.any(Function), 2_000);
    timers.mockRestore();
    expect([status, body['checks']]).toEqual([503, { database: 'down', docker: 'down' }]);
  });

  it('must end, but not life, when the server begins to drain', async () => {
    const server = await start({});
    server.get(Draining).begin();
    expect((await get('/health/ready'))[1]).toMatchObject({ code: 'shutting_down' });
    expect(await get('/health/live')).toEqual([200, { status: 'ok' }]);
  });
});

describe('life', () => {
  it('must not depend on anything else', async () => {
    await start({ database: down, docker: down, redis: down });
    expect(await get('/health/live')).toEqual([200, { status: 'ok' }]);
  });
});

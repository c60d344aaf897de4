import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ExpiryWatcher } from '../../src/containers/expiry/expiry-watcher';
import type { ContainerRow } from '../../src/containers/model/container.entity';
import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { ReservedCapacity } from '../../src/containers/rows/reserved-capacity';
import { ContainerRepository } from '../../src/containers/rows/container.repository';
import { type Answer, LARGER, SMALL } from '../support/clients/api-client';
import type { EventRecorder } from '../support/clients/socket-client';
import { leaseAsDead } from '../support/databases/lease-as-dead';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { TestClock } from '../support/fakes/test-clock';
import { DEFAULT_TIERS } from '../../src/tiers/tier-table';
import { Berth, type TestUser } from '../support/servers/berth';

const UNSEEN = { freeMemoryMb: null, freeDiskMb: null } as const;
const MINUTE = 60_000;
const NO_BOUND = { memoryMb: null, cpuShares: null, ...UNSEEN } as const;

describe('a paused container', () => {
  let daemon: FakeDaemon;
  let engine: FakeEngine;
  let berth: Berth;
  let user: TestUser;
  let events: EventRecorder;
  let dbId: string;
  let id: string;

  beforeAll(async () => {
    daemon = new FakeDaemon();
    engine = new FakeEngine(daemon);
    const environment = { INSTANCE_ID: 'pause', SWEEP_INTERVAL_SECONDS: '3600', CPU_OVERCOMMIT: '1' };
    berth = await Berth.start({ engine, environment });
  });

  beforeEach(async () => {
    daemon.machine = NO_BOUND;
    user = await berth.user('enterprise');
    ({ db_id: dbId, id } = await user.api.running({ name: 'one' }));
    events = await berth.record(user);
  });

  afterEach(async () => {
    engine.forget();
    const { body } = await user.api.call('GET', '/api/containers');
    for (const { db_id } of body['containers'] as { db_id: string }[]) await user.api.delete(db_id);
    expect(await reserved()).toEqual([0, 0]);
    expect(await berth.app.get(ReservedCapacity).recount()).toBe(false);
    expect(daemon.violations).toEqual([]);
  });

  afterAll(() => berth.stop());

  it('must be paused and resumed once, however often that is asked for, and say so once', async () => {
    const paused = { status: 200, body: { message: 'container paused', id, name: 'one', status: 'paused' } };
    const resumed = { status: 200, body: { message: 'container resumed', id, name: 'one', status: 'running' } };
    for (let times = 0; times < 2; times += 1) expect(await verb('pause')).toMatchObject(paused);
    expect(stateInDocker()).toBe('paused');
    expect((await user.api.get(dbId)).body).toMatchObject({ status: 'paused', status_reason: null, id });
    expect((await user.api.call('GET', '/api/containers?status=paused')).body).toMatchObject({ count: 1 });
    for (let times = 0; times < 2; times += 1) expect(await verb('resume')).toMatchObject(resumed);
    expect(stateInDocker()).toBe('running');
    await user.api.stop(dbId);
    await events.next('container_stopped');
    expect(events.types()).toEqual(['container_paused', 'container_resumed', 'container_stopped']);
  });

  it('must be refused of what does not run, and of an agent', async () => {
    await user.api.stop(dbId);
    for (const which of ['pause', 'resume']) {
      expect(await verb(which)).toMatchObject({ status: 409, body: { code: 'container_not_running' } });
      const agent = await user.api.call('POST', `/api/containers/agent:${dbId}/${which}`);
      expect(agent).toMatchObject({ status: 404, body: { code: 'agent_not_found' } });
      const stranger = await berth.user();
      expect((await stranger.api.call('POST', `/api/containers/${dbId}/${which}`)).status).toBe(403);
    }
    expect(await row()).toMatchObject({ status: 'stopped', operation: null });
  });

  it('must be stopped where its container has ended unseen, and that be the answer', async () => {
    for (const which of ['pause', 'resume']) {
      if (which === 'resume') await verb('pause');
      daemon.unwatched(() => daemon.kill(id));
      await eventually(async () => expect((await verb(which)).status).toBe(409));
      expect(await row()).toMatchObject({ status: 'stopped', statusReason: 'exited', operation: null });
      await user.api.start(dbId);
    }
  });

  it.each<[string, (api: TestUser['api']) => Promise<Answer>, object]>([
    ['a command', (api) => api.call('POST', at('exec'), { command: ['true'] }), { exit_code: 0 }],
    ['a process', (api) => api.call('POST', at('processes'), { command: ['sleep'] }), { status: 'running' }],
    ['a resize', (api) => api.update(dbId, { name: 'one', ...LARGER }), { restarted: true }],
    ['a start', (api) => api.start(dbId), { message: 'container started', resumed: true, status: 'running' }],
  ])('must be resumed first by %s, and tell of it', async (_what, ask, expected) => {
    await verb('pause');
    const answer = await ask(user.api);
    expect([answer.status, answer.body]).toEqual([expect.any(Number), expect.objectContaining(expected)]);
    expect(answer.status).toBeLessThan(300);
    await events.next('container_resumed', { status: 'running', id });
    expect(await row()).toMatchObject({ status: 'running', operation: null, pausedAt: null });
    expect(daemon.running(dbId)).toMatchObject([{ state: 'running' }]);
  });

  it.each(['stop', 'delete'] as const)('must be resumed by a %s, so that its processes can end', async (which) => {
    await verb('pause');
    const answer = await (which === 'stop' ? user.api.stop(dbId) : user.api.delete(dbId));
    expect(answer).toMatchObject({ status: 200, body: { resumed: true } });
    const told = await events.next(which === 'stop' ? 'container_stopped' : 'container_deleted');
    expect(told.data).toMatchObject({ resumed: true });
    expect(daemon.running(dbId)).toEqual([]);
  });

  it('must stay paused where nothing in it is needed', async () => {
    const { db_id: other } = await user.api.running({ name: 'two' });
    expect((await user.api.call('POST', at('processes'), { command: ['sleep'] })).status).toBe(201);
    await verb('pause');
    expect((await user.api.update(dbId, { name: 'named', ...SMALL })).body).toMatchObject({ restarted: false });
    expect((await user.api.call('PUT', at('labels'), { labels: { a: 'b' } })).status).toBe(200);
    for (const path of ['processes', 'terminals', 'stats', 'wait?status=paused']) {
      expect([path, (await user.api.call('GET', at(path))).status]).toEqual([path, 200]);
    }
    expect((await user.api.call('POST', at('touch'))).body).toMatchObject({ status: 'paused' });
    expect((await user.api.call('GET', at('wait?status=running'))).body).toMatchObject({ code: 'status_unreachable' });
    expect(stateInDocker()).toBe('paused');
    expect((await user.api.get(other)).body).toMatchObject({ status: 'running' });
  });

  it('must keep its memory and give up its CPU, and need that again to go on', async () => {
    daemon.machine = { memoryMb: 4096, cpuShares: 500, ...UNSEEN };
    expect(await reserved()).toEqual([256, 500]);
    await verb('pause');
    expect(await reserved()).toEqual([256, 0]);
    const { db_id: other } = await user.api.running({ name: 'two' });
    for (const refused of [await verb('resume'), await user.api.start(dbId), await command()]) {
      const short = [{ resource: 'cpu_shares', needed: 500, available: 0 }];
      expect(refused).toMatchObject({ status: 503, body: { code: 'no_capacity', short } });
      expect(refused.headers.get('retry-after')).toBe('30');
    }
    expect(await row()).toMatchObject({ status: 'paused', operation: null });
    expect(stateInDocker()).toBe('paused');
    await user.api.stop(other);
    expect((await command()).body).toMatchObject({ exit_code: 0 });
    expect(await reserved()).toEqual([256, 500]);
  });

  it('must be followed where Docker was asked past Berth, and keep its run', async () => {
    const { runSince, expiresAt } = await row();
    daemon.pause(id);
    await events.next('container_paused', { status: 'paused' });
    expect(await row()).toMatchObject({ status: 'paused', runSince, expiresAt });
    expect(await reserved()).toEqual([256, 0]);
    daemon.unpause(id);
    await events.next('container_resumed', { status: 'running' });
    expect(await row()).toMatchObject({ status: 'running', runSince, expiresAt, startRun: null });
    daemon.unwatched(() => daemon.pause(id));
    await berth.app.get(Reconciler).sweepNow();
    await eventually(async () => expect(await row()).toMatchObject({ status: 'paused' }));
  });

  it.each([
    ['pause', 'before', 'running'],
    ['pause', 'after', 'paused'],
    ['idle_pause', 'after', 'paused'],
    ['resume', 'before', 'paused'],
    ['resume', 'after', 'running'],
  ] as const)('must be what Docker shows where the server died in a %s, %s the call', async (which, when, status) => {
    if (which === 'resume') await verb('pause');
    const last = events.events.length;
    await leaseAsDead(berth, await row(), which);
    if (when === 'after') daemon.unwatched(() => (which === 'resume' ? daemon.unpause(id) : daemon.pause(id)));
    await berth.app.get(Reconciler).sweepNow();
    await eventually(async () => expect(await row()).toMatchObject({ status, operation: null }));
    expect(stateInDocker()).toBe(status);
    const type = which === 'resume' ? 'container_resumed' : 'container_paused';
    await eventually(() => expect(events.types().slice(last)).toEqual(when === 'after' ? [type] : []));
  });

  it.each(['stop', 'update'] as const)('must be settled where the server died in its %s', async (which) => {
    await verb('pause');
    await leaseAsDead(berth, await row(), which);
    daemon.unwatched(() => daemon.unpause(id));
    await berth.app.get(Reconciler).sweepNow();
    const status = which === 'stop' ? 'stopped' : 'running';
    await eventually(async () => expect(await row()).toMatchObject({ status, operation: null }));
  });

  it('must be as Docker shows where Docker refuses, and its answer be a failure', async () => {
    engine.failOn('containers.pause');
    expect(await verb('pause')).toMatchObject({ status: 500, body: { error: 'failed to pause container' } });
    expect(await row()).toMatchObject({ status: 'running', operation: null });
    engine.failOn('containers.pause', { when: 'after' });
    expect((await verb('pause')).status).toBe(500);
    expect(await row()).toMatchObject({ status: 'paused', operation: null });
    engine.failOn('containers.unpause');
    expect(await verb('resume')).toMatchObject({ status: 500, body: { error: 'failed to resume container' } });
    expect(await row()).toMatchObject({ status: 'paused', operation: null });
    engine.failOn('containers.unpause');
    expect(await user.api.update(dbId, { name: 'one', ...LARGER })).toMatchObject({ status: 500 });
    expect(await row()).toMatchObject({ status: 'paused', operation: null, memoryMb: 256 });
  });

  it('must tell a client whose command meets another pause that it was not started', async () => {
    const hold = engine.holdOn('programs.start');
    const asked = command();
    await hold.reached;
    await verb('pause');
    hold.release();
    expect(await asked).toMatchObject({ status: 409, body: { code: 'container_paused' } });
    expect((await command()).body).toMatchObject({ exit_code: 0 });
  });

  const at = (path: string): string => `/api/containers/${dbId}/${path}`;
  const verb = (which: string): Promise<Answer> => user.api.call('POST', at(which));
  const command = (): Promise<Answer> => user.api.call('POST', at('exec'), { command: ['true'] });
  const stateInDocker = (): unknown => daemon.containers.get(id)?.state;

  async function row(): Promise<ContainerRow> {
    const found = await berth.app.get(ContainerRepository).findById(dbId);
    if (!found) throw new Error('there is no row');
    return found;
  }

  async function reserved(): Promise<number[]> {
    const { memoryMb, cpuShares } = await berth.app.get(ReservedCapacity).sum();
    return [memoryMb, cpuShares];
  }
});

describe('an idle container that is not to be stopped at once', () => {
  const clock = new TestClock();
  const folder = mkdtempSync(join(tmpdir(), 'berth-idle-'));
  let daemon: FakeDaemon;
  let berth: Berth;

  beforeAll(async () => {
    const { pro } = DEFAULT_TIERS.tiers;
    const tiers = {
      ...DEFAULT_TIERS.tiers,
      pausing: Object.assign({}, pro, { auto_stop_seconds: 1_200, idle_action: 'pause' }),
      stopping: Object.assign({}, pro, { auto_stop_seconds: 1_200, idle_action: 'pause_then_stop' }),
    };
    writeFileSync(join(folder, 'tiers.json'), JSON.stringify({ ...DEFAULT_TIERS, tiers }));
    daemon = new FakeDaemon();
    const environment = {
      TIERS_FILE: join(folder, 'tiers.json'),
      IDLE_STOP_AFTER: 'enterprise=30m',
      LIMIT_CHECK_SECONDS: '3600',
      EXPIRY_WARNING: '10m',
    };
    berth = await Berth.start({ engine: new FakeEngine(daemon), clock, environment });
  });

  afterAll(async () => {
    await berth.stop();
    rmSync(folder, { recursive: true });
  });

  it.each<[string, string, Readonly<Record<string, unknown>>, isStopped: boolean]>([
    ['its own action', 'pro', { auto_stop_seconds: 600, idle_action: 'pause' }, false],
    ['its own action with a stop', 'pro', { auto_stop_seconds: 600, idle_action: 'pause_then_stop' }, true],
    ["its tier's action", 'pausing', { auto_stop_seconds: 600 }, false],
    ["its tier's action with a stop", 'stopping', { auto_stop_seconds: 600 }, true],
    ["its own action within its tier's", 'pausing', { auto_stop_seconds: 600, idle_action: 'pause_then_stop' }, true],
  ])(
    'must be paused after its time, by %s, and stopped only where that is said',
    async (_what, tier, ends, isStopped) => {
      const user = await berth.user(tier);
      const { db_id, id } = await user.api.running(ends);
      const view = async (): Promise<Answer['body']> => (await user.api.get(db_id)).body;
      expect(await view()).toMatchObject({ idle_action: null, ...ends });
      const events = await berth.record(user);
      clock.forward(9 * MINUTE);
      await look();
      expect((await events.next('container_expiring')).data).toMatchObject({ action: 'pause', reason: 'idle', db_id });
      expect(await view()).toMatchObject({ status: 'running' });
      clock.forward(2 * MINUTE);
      await look();
      expect((await events.next('container_paused')).data).toMatchObject({ db_id, reason: 'idle', status: 'paused' });
      expect(await view()).toMatchObject({ status: 'paused', status_reason: 'idle', expires_at: null });
      expect(daemon.containers.get(id)?.state).toBe('paused');
      const audited = await user.api.call('GET', '/api/audit?action=container.pause_idle');
      expect(audited.body['entries']).toEqual([expect.objectContaining({ user_id: null, container_id: db_id })]);
      await user.api.call('POST', `/api/containers/${db_id}/exec`, { command: ['true'] });
      await look();
      expect(await view()).toMatchObject({ status: 'running', status_reason: null });
      clock.forward(11 * MINUTE);
      await look();
      await eventually(async () => expect(await view()).toMatchObject({ status: 'paused' }));
      // As long again, from the pause on.
      clock.forward(9 * MINUTE);
      await look();
      expect(await view()).toMatchObject({ status: 'paused' });
      clock.forward(2 * MINUTE);
      await look();
      if (isStopped) {
        expect((await events.next('container_stopped')).data).toMatchObject({ reason: 'idle', resumed: true });
        expect(await view()).toMatchObject({ status: 'stopped', status_reason: 'idle' });
      } else {
        clock.forward(9_000 * MINUTE);
        await look();
        expect(await view()).toMatchObject({ status: 'paused' });
      }
      await user.api.delete(db_id);
    },
  );

  it('must be stopped where its user did not choose, though it may have been paused by request', async () => {
    const user = await berth.user('enterprise');
    const [{ db_id: running }, { db_id: paused }] = [await user.api.running(), await user.api.running()];
    await user.api.call('POST', `/api/containers/${paused}/pause`);
    clock.forward(31 * MINUTE);
    await look();
    const statusOf = async (id: string): Promise<unknown> => (await user.api.get(id)).body['status'];
    await eventually(async () => expect(await statusOf(running)).toBe('stopped'));
    expect(await statusOf(paused)).toBe('paused');
    for (const id of [running, paused]) await user.api.delete(id);
  });

  it("must not choose what keeps more than its tier's limit allows, and may change its choice", async () => {
    const { api } = await berth.user('enterprise');
    for (const idle_action of ['pause', 'pause_then_stop', 'sleep']) {
      const refused = await api.create({ idle_action });
      expect(refused).toMatchObject({ status: 400, body: { details: [{ field: 'idle_action' }] } });
    }
    const stopping = await berth.user('stopping');
    expect((await stopping.api.create({ idle_action: 'pause' })).status).toBe(400);
    const { db_id, name } = await stopping.api.running({ idle_action: 'pause_then_stop' });
    const change = (idle_action: unknown): Promise<Answer> =>
      stopping.api.update(db_id, { name, ...SMALL, idle_action });
    expect(await change('pause')).toMatchObject({ status: 400, body: { details: [{ tier: 'stopping' }] } });
    for (const idle_action of ['stop', null]) {
      expect(await change(idle_action)).toMatchObject({ status: 200, body: { restarted: false } });
      expect((await stopping.api.get(db_id)).body).toMatchObject({ idle_action });
    }
    const { body } = await stopping.api.call('GET', '/api/me');
    expect(body['limits']).toMatchObject({ idle_action: 'pause_then_stop', auto_stop_seconds: 1_200 });
    await stopping.api.delete(db_id);
  });

  it('must be stopped at the end of its run, and where its user is suspended, as any other', async () => {
    const user = await berth.user('free');
    const { db_id } = await user.api.running();
    const pause = (): Promise<Answer> => user.api.call('POST', `/api/containers/${db_id}/pause`);
    await pause();
    const { expires_at } = (await user.api.get(db_id)).body;
    expect(expires_at).not.toBeNull();
    clock.forward(51 * 60 * MINUTE);
    const events = await berth.record(user);
    await look();
    expect((await events.next('container_stopped')).data).toMatchObject({ reason: 'session_expired', resumed: true });
    expect(daemon.running(db_id)).toEqual([]);
  });

  const look = (): Promise<void> => berth.app.get(ExpiryWatcher).check();
});

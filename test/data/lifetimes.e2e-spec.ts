import { ExpiryWatcher } from '../../src/containers/expiry/expiry-watcher';
import { expiring } from '../../src/containers/operations/expire';
import { OperationRunner } from '../../src/containers/operations/operation-runner';
import { ContainerRepository } from '../../src/containers/rows/container.repository';
import type { EventRecorder } from '../support/clients/socket-client';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';
import { Clock } from '../../src/scheduling';
import { Berth, type TestUser } from '../support/servers/berth';

/** Only the tests end what is due. */
const NO_CHECKS = { LIMIT_CHECK_SECONDS: '3600', SWEEP_INTERVAL_SECONDS: '3600' };
const LIFETIME = 300;

/** Stands still, so that ends can be compared to the millisecond. */
class StoppedClock extends Clock {
  private at = Date.now();

  override now(): Date {
    return new Date(this.at);
  }

  forward(ms: number): void {
    this.at += ms;
  }
}

describe('a lifetime', () => {
  const clock = new StoppedClock();
  let berth: Berth;
  let user: TestUser;
  let events: EventRecorder;

  beforeAll(async () => {
    berth = await Berth.start({ engine: new FakeEngine(), clock, environment: NO_CHECKS });
  });
  beforeEach(async () => {
    user = await berth.user('enterprise');
    events = await berth.record(user);
  });
  afterAll(() => berth.stop());

  const check = (): Promise<void> => berth.app.get(ExpiryWatcher).check();
  const viewOf = async (id: string): Promise<Record<string, unknown>> => (await user.api.get(id)).body;
  const inSeconds = (seconds: number): string => new Date(clock.now().getTime() + seconds * 1000).toISOString();
  const change = (id: string, body: object) =>
    user.api.call('PATCH', `/api/containers/${id}`, body, { 'content-type': 'application/merge-patch+json' });

  it('is none, and stops, unless a creation says otherwise', async () => {
    const { db_id: id } = await user.api.running();
    expect(await viewOf(id)).toMatchObject({ lifetime_seconds: null, end_action: 'stop', ends_at: null });
  });

  it.each([
    ['stop', 'container_stopped', { status: 'stopped', status_reason: 'lifetime_over', ends_at: null }],
    ['pause', 'container_paused', { status: 'paused', status_reason: 'lifetime_over', ends_at: null }],
    ['delete', 'container_deleted', null],
  ] as const)('ends by a %s, once, with the reason in the event and an audit entry', async (action, event, then) => {
    const { db_id: id } = await user.api.running({ lifetime_seconds: LIFETIME, end_action: action });
    expect(await viewOf(id)).toMatchObject({ end_action: action, ends_at: inSeconds(LIFETIME) });
    clock.forward(LIFETIME * 1000 - 1);
    await check();
    expect((await viewOf(id))['status']).toBe('running');
    clock.forward(1);
    await Promise.all([check(), check()]);
    expect(await events.next(event)).toMatchObject({ data: { reason: 'lifetime_over' } });
    if (then) expect(await viewOf(id)).toMatchObject(then);
    else expect(await user.api.call('POST', `/api/containers/${id}/restore`)).toMatchObject({ status: 200 });
    await check();
    expect(events.types().filter((type) => type === event)).toHaveLength(1);
    const { body } = await user.api.call('GET', `/api/audit?container_id=${id}`);
    expect((body['entries'] as { action: string }[]).map((entry) => entry.action)).toContain('container.expire');
  });

  it('begins anew with each start and resumption', async () => {
    const { db_id: id } = await user.api.running({ lifetime_seconds: LIFETIME, end_action: 'pause' });
    clock.forward(100_000);
    await user.api.call('POST', `/api/containers/${id}/pause`);
    expect(await viewOf(id)).toMatchObject({ status: 'paused', ends_at: null });
    clock.forward(LIFETIME * 1000);
    await check();
    await user.api.call('POST', `/api/containers/${id}/resume`);
    expect(await viewOf(id)).toMatchObject({ status: 'running', ends_at: inSeconds(LIFETIME) });
    await user.api.stop(id);
    expect(await viewOf(id)).toMatchObject({ lifetime_seconds: LIFETIME, ends_at: null });
    clock.forward(50_000);
    await user.api.start(id);
    expect(await viewOf(id)).toMatchObject({ ends_at: inSeconds(LIFETIME) });
  });

  it('is moved by a PATCH, counted from then, also where it stays as long', async () => {
    const { db_id: id } = await user.api.running({ lifetime_seconds: LIFETIME });
    clock.forward(200_000);
    for (const seconds of [LIFETIME, 2 * LIFETIME]) {
      expect(await change(id, { lifetime_seconds: seconds })).toMatchObject({ status: 200 });
      expect(await viewOf(id)).toMatchObject({ lifetime_seconds: seconds, ends_at: inSeconds(seconds) });
    }
    expect(await change(id, { end_action: 'delete' })).toMatchObject({ status: 200 });
    clock.forward(2 * LIFETIME * 1000 - 1);
    await check();
    expect(await viewOf(id)).toMatchObject({ status: 'running', end_action: 'delete' });
    expect(await change(id, { lifetime_seconds: null, end_action: null })).toMatchObject({ status: 200 });
    expect(await viewOf(id)).toMatchObject({ lifetime_seconds: null, end_action: 'stop', ends_at: null });
    clock.forward(1_000);
    await check();
    expect((await viewOf(id))['status']).toBe('running');
  });

  it('does not end a container whose end was moved after it was found due', async () => {
    const { db_id: id } = await user.api.running({ lifetime_seconds: LIFETIME });
    clock.forward(LIFETIME * 1000);
    const due = await berth.app.get(ContainerRepository).findById(id);
    expect(due?.endsAt).toEqual(clock.now());
    await change(id, { lifetime_seconds: LIFETIME });
    if (due) await berth.app.get(OperationRunner).run(due, expiring('lifetime'));
    expect((await viewOf(id))['status']).toBe('running');
  });

  it.each([
    ['lifetime_seconds', 0],
    ['lifetime_seconds', 30 * 24 * 3600 + 1],
    ['lifetime_seconds', 1.5],
    ['end_action', 'destroy'],
  ])('of a wrong %s (%p) is refused by a 400 that names it', async (field, value) => {
    const refused = { status: 400, body: { code: 'invalid_parameters', details: [{ field }] } };
    expect(await user.api.create({ [field]: value })).toMatchObject(refused);
  });
});

describe('a short lifetime', () => {
  it('ends by itself, without a check of limits', async () => {
    const berth = await Berth.start({ engine: new FakeEngine(), environment: NO_CHECKS });
    try {
      const user = await berth.user('pro');
      const { db_id: id } = await user.api.running({ lifetime_seconds: 1 });
      await eventually(async () => expect((await user.api.get(id)).body).toMatchObject({ status: 'stopped' }));
      // The one that was overdue when the server started is found by its first check.
      await berth.app.get(ExpiryWatcher).check();
    } finally {
      await berth.stop();
    }
  });
});

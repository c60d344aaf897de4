import { Answer, ApiClient, SMALL } from '../support/clients/api-client';
import { TAKEN_UP_WITHIN_MS, VictimAndSurvivor } from '../support/servers/victim-and-survivor';
import { Fault } from '../support/faults/docker-proxy';
import { eventually } from '../support/eventually';
import { expectSettled } from '../support/databases/expect-settled';

jest.setTimeout(300_000);

/** An operation in whose midst its process dies. */
interface Death {
  readonly of: string;
  /** Brings a container that runs, with data, to where the operation is asked for. */
  prepare?(api: ApiClient, dbId: string): Promise<unknown>;
  /** Asks for it. */
  act(api: ApiClient, dbId: string): Promise<Answer>;
  readonly at: { readonly fault: Fault; readonly call: RegExp };
  /** What the container must come to, by whoever takes it up; null: it is deleted. */
  readonly outcome: Readonly<Record<string, unknown>> | null;
  /** What must have been told of it, from the operation on. */
  readonly told: readonly Readonly<Record<string, unknown>>[];
}

const CREATION = /\/containers\/create$/;
const START = /\/containers\/:id\/start$/;
const STOP = /\/containers\/:id\/stop$/;
const REMOVAL = /^DELETE .*\/containers\/:id$/;

const DEATHS: readonly Death[] = [
  {
    of: 'a start',
    prepare: (api, dbId) => api.stop(dbId),
    act: (api, dbId) => api.start(dbId),
    at: { fault: 'kill_before', call: START },
    outcome: { status: 'running' },
    told: [{ type: 'container_started' }],
  },
  {
    of: 'the start of a restored container, which recreates it',
    async prepare(api, dbId) {
      await api.delete(dbId);
      expect((await api.call('POST', `/api/containers/${dbId}/restore`)).status).toBe(200);
    },
    act: (api, dbId) => api.start(dbId),
    at: { fault: 'kill_after', call: CREATION },
    outcome: { status: 'running' },
    told: [{ type: 'container_started', volume_kept: true }],
  },
  {
    of: 'a stop',
    act: (api, dbId) => api.stop(dbId),
    at: { fault: 'kill_after', call: STOP },
    outcome: { status: 'stopped', status_reason: null },
    told: [{ type: 'container_stopped', reason: null }],
  },
  {
    of: 'a resize, when the old container is stopped and the new one does not run yet',
    act: (api, dbId) => api.update(dbId, { name: 'resized', ...SMALL, memory_mb: 512 }),
    at: { fault: 'kill_after', call: STOP },
    outcome: { status: 'running', resources: SMALL },
    // It did not run for a while, and runs again.
    told: [{ type: 'container_stopped' }, { type: 'container_started' }],
  },
  {
    of: 'a deletion, when the container is stopped and not yet removed',
    act: (api, dbId) => api.delete(dbId),
    at: { fault: 'kill_before', call: REMOVAL },
    outcome: null,
    told: [{ type: 'container_stopped', reason: null }, { type: 'container_deleted' }],
  },
];

describe('another process must finish or undo, and lose no data of, when one is killed in the midst of', () => {
  let server: VictimAndSurvivor;

  beforeAll(async () => {
    server = await VictimAndSurvivor.start('killed-operations', { survivors: 2 });
  });

  afterAll(() => server.stop());

  it.each(DEATHS)('$of', async ({ prepare, act, at, outcome, told }) => {
    const { victim, survivor } = await server.user();
    const { id, db_id } = await survivor.running();
    await server.cluster.docker.writeData(id, 'precious');
    await prepare?.(survivor, db_id);
    const events = await server.cluster.record(survivor, await lastSeq(survivor));
    const died = server.dieAt(at);
    const asked = act(victim, db_id).catch(() => null);
    await died;
    expect(await asked).toBeNull();
    await expectOutcome(survivor, db_id, outcome);
    await expectSettled(survivor, server.cluster.docker, db_id);
    await eventually(() => expect(events.types()).toHaveLength(told.length), {
      what: () => JSON.stringify(events.events),
    });
    expect(events.events.map(({ type, data }) => ({ type, reason: null, ...data }))).toMatchObject(told);
    if (outcome === null) await survivor.call('POST', `/api/containers/${db_id}/restore`);
    const started = await survivor.start(db_id);
    expect(await server.cluster.docker.readData(String(started.body['id']))).toBe('precious');
  });

  it('a creation', async () => {
    const { victim, survivor } = await server.user();
    const events = await server.cluster.record(survivor);
    const died = server.dieAt({ fault: 'kill_after', call: CREATION });
    await victim.create().catch(() => null);
    await died;
    const { body } = await survivor.call('GET', '/api/containers');
    const [{ db_id }] = body['containers'] as [{ db_id: string }];
    await expectOutcome(survivor, db_id, { status: 'running' });
    await expectSettled(survivor, server.cluster.docker, db_id);
    await events.next('container_started', { db_id });
    expect(events.types()).toEqual(['container_created', 'container_started']);
  });

  it('a stop at the end of a session', async () => {
    const { survivor } = await server.user('guest');
    const { db_id } = await survivor.running();
    const events = await server.cluster.record(survivor, await lastSeq(survivor));
    const died = server.dieAt({ fault: 'kill_after', call: STOP });
    await server.cluster.sql(
      'UPDATE users SET session_expires_at = $1 WHERE id = (SELECT user_id FROM containers WHERE id = $2)',
      [new Date(Date.now() + 1_000), db_id],
    );
    await died;
    await expectOutcome(survivor, db_id, { status: 'stopped', status_reason: 'session_expired' });
    await expectSettled(survivor, server.cluster.docker, db_id);
    await events.next('container_stopped', { db_id, reason: 'session_expired' });
    expect(events.types().filter((type) => type !== 'container_expiring')).toEqual(['container_stopped']);
  });

  async function expectOutcome(api: ApiClient, dbId: string, outcome: Death['outcome']): Promise<void> {
    await eventually(
      async () => {
        const { status, body } = await api.get(dbId);
        if (outcome === null) expect(status).toBe(404);
        else expect(body).toMatchObject(outcome);
      },
      { timeoutMs: TAKEN_UP_WITHIN_MS },
    );
  }
});

async function lastSeq(api: ApiClient): Promise<number> {
  return Number((await api.call('GET', '/api/containers')).body['event_seq']);
}

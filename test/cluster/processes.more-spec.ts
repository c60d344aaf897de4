import { ApiClient, SMALL } from '../support/clients/api-client';
import { Cluster } from '../support/servers/cluster';
import { DockerProxy } from '../support/faults/docker-proxy';
import { eventually } from '../support/eventually';
import { expectSettled } from '../support/databases/expect-settled';
import { range } from '../support/servers/events-process';

jest.setTimeout(300_000);

/** Everything is looked at every second by each of the three. */
const EAGER = { SWEEP_INTERVAL_SECONDS: '1', LIMIT_CHECK_SECONDS: '1' };
/** Nine acts on one container, each under gVisor, wait for each other. */
const PATIENT = { OPERATION_WAIT_SECONDS: '90' };
const IDLE = { IDLE_STOP_AFTER: 'pro=1h' };

describe('three server processes that look at everything every second', () => {
  let proxy: DockerProxy;
  let cluster: Cluster;

  beforeAll(async () => {
    proxy = await DockerProxy.open();
    const environment = { DOCKER_HOST: proxy.dockerHost, ...EAGER, ...PATIENT, ...IDLE };
    cluster = await Cluster.start('processes', { environment });
  });

  afterAll(async () => {
    await cluster.stop();
    await proxy.close();
  });

  it('must let each of many different operations on one container have its turn, and fail none', async () => {
    const apis = await cluster.user();
    const { db_id, name } = await at(apis, 0).running();
    const larger = { name, ...SMALL, memory_mb: 512 };
    const answers = await Promise.all(
      apis.flatMap((api) => [
        api.stop(db_id),
        api.update(db_id, larger),
        api.start(db_id),
        api.update(db_id, { name, ...SMALL }),
      ]),
    );
    const fine = answers.map(({ status, body }) => (status === 409 ? body['code'] : status));
    expect(fine.filter((status) => status !== 200 && status !== 'operation_in_progress')).toEqual([]);
    expect(fine).toContain(200);
    expect((await at(apis, 2).start(db_id)).status).toBe(200);
    await expectSettled(at(apis, 1), cluster.docker, db_id);
  });

  it('must warn of, run, emit and audit once what ends by itself, and remove data once', async () => {
    const [guest, idler, deleter] = [await cluster.user('guest'), await cluster.user('pro'), await cluster.user()];
    const operator = at(await cluster.user('pro', ['--scopes', 'read,write,admin']), 2);
    const [told, idle] = [await cluster.record(at(guest, 1), 0), await cluster.record(at(idler, 1), 0)];
    const made = await Promise.all([guest, idler, deleter].map((apis) => at(apis, 0).running()));
    const [expiring = never(), idling = never(), doomed = never()] = made;
    proxy.arm(null);
    await at(deleter, 1).delete(doomed.db_id);
    const endSession = (at: Date): Promise<unknown> =>
      cluster.sql(
        'UPDATE users SET session_expires_at = $1 WHERE id = (SELECT user_id FROM containers WHERE id = $2)',
        [at, expiring.db_id],
      );
    await endSession(new Date(Date.now() + 5 * 60_000));
    await told.next('container_expiring', { db_id: expiring.db_id });
    await endSession(new Date());
    await cluster.sql('UPDATE containers SET last_used_at = $1 WHERE id = $2', [new Date(0), idling.db_id]);
    await cluster.sql('UPDATE containers SET purge_at = $1 WHERE id = $2', [new Date(), doomed.db_id]);
    await told.next('container_stopped', { db_id: expiring.db_id, reason: 'session_expired' });
    await idle.next('container_stopped', { db_id: idling.db_id, reason: 'idle' });
    await eventually(async () => expect(await cluster.docker.volumesOf(doomed.db_id)).toEqual([]));
    // Each of them has looked at everything once more, from its beginning to its end.
    await allSweep(2);
    const born = ['container_created', 'container_started'];
    expect(told.types()).toEqual([...born, 'container_expiring', 'container_stopped']);
    expect(idle.types()).toEqual([...born, 'container_stopped']);
    // The two that ended, and the one that was deleted.
    expect(asked(/^POST .*\/stop$/)).toBe(3);
    expect(asked(new RegExp(`^DELETE .*/volumes/berth-${doomed.db_id}$`))).toBe(1);
    const noted = await Promise.all([expiring, idling, doomed].map(({ db_id }) => ownActs(operator, db_id)));
    expect(noted).toEqual([['container.expire'], ['container.stop_idle'], ['container.purge']]);
  });

  /** How often Docker was asked since the proxy was armed last. */
  function asked(call: RegExp): number {
    return proxy.calls.filter((each) => call.test(each)).length;
  }

  /** Waits until each process has swept that often from now on. */
  async function allSweep(times: number): Promise<void> {
    const count = async (url: string): Promise<number> => {
      const text = await (await fetch(`${url}/metrics`)).text();
      return Number(/^berth_sweep_duration_seconds_count (\d+)/m.exec(text)?.[1]);
    };
    await Promise.all(
      cluster.servers.map(async ({ url }) => {
        // One may be under way.
        const enough = (await count(url)) + times + 1;
        await eventually(async () => expect(await count(url)).toBeGreaterThanOrEqual(enough));
      }),
    );
  }
});

describe('two server processes that forget', () => {
  it('must forget each event, each entry of the audit and each token that ended once', async () => {
    let output = '';
    const cluster = await Cluster.start('retention', {
      processes: 2,
      // Without gVisor a start warns of it.
      environment: { EVENT_RETENTION: '3s', AUDIT_RETENTION: '3s', LOG_LEVEL: 'debug', SANDBOX_RUNTIME: 'runsc' },
      onOutput: (chunk) => (output += chunk.toString()),
    });
    try {
      const apis = await cluster.user();
      const keys = (index: number) => ({ name: `name-${index}`, image: 'no-such-image' });
      // What is refused is in the audit all the same.
      const refused = await Promise.all(range(1, 30).map((n) => at(apis, n).create(keys(n))));
      expect(refused.map(({ status }) => status)).toEqual(refused.map(() => 400));
      const { db_id } = await at(apis, 0).running();
      await Promise.all([at(apis, 0).stop(db_id), at(apis, 1).start(db_id)]);
      const { body } = await at(apis, 0).call('GET', '/api/containers');
      const token = await at(apis, 0).call('POST', '/api/tokens', { name: 'brief', scopes: ['read'] });
      expect((await at(apis, 1).call('DELETE', `/api/tokens/${String(token.body['id'])}`)).status).toBe(200);
      const acts = 30 + 1 + 2 + 2;
      const pruned = (what: string): number =>
        [...output.matchAll(/\{.*\}/g)]
          .map(([line]) => JSON.parse(line) as { msg?: string; count?: number })
          .reduce((sum, { msg, count = 0 }) => (msg === what ? sum + count : sum), 0);
      await eventually(() => expect(pruned('old audit entries pruned')).toBe(acts));
      await eventually(() => expect(pruned('old tokens pruned')).toBe(1));
      await eventually(() => expect(pruned('old events pruned')).toBe(Number(body['event_seq'])));
      expect(output).not.toMatch(/"level":"(error|warn)"/);
    } finally {
      await cluster.stop();
    }
  });
});

/** Round and round. */
function at(apis: readonly ApiClient[], index: number): ApiClient {
  return apis[index % apis.length] ?? never();
}

/** What Berth did to a container by itself, by the audit. */
async function ownActs(operator: ApiClient, dbId: string): Promise<unknown[]> {
  const { body } = await operator.call('GET', `/api/audit?all=true&container_id=${dbId}`);
  const entries = body['entries'] as { action: string; user_id: string | null }[];
  return entries.filter(({ user_id }) => user_id === null).map(({ action }) => action);
}

function never(): never {
  throw new Error('there is no such server');
}

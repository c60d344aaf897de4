import { setTimeout as delay } from 'node:timers/promises';
import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { ContainerEngine } from '../../src/engine';
import type { DockerDaemon } from '../../src/docker/connection/daemon';
import { ApiClient } from '../support/clients/api-client';
import { Berth } from '../support/servers/berth';
import { DockerProxy, Fault } from '../support/faults/docker-proxy';
import { eventually } from '../support/eventually';
import { atEveryCall } from '../support/extent';
import { expectSettled } from '../support/databases/expect-settled';
import { RealDocker } from '../support/docker/real-docker';
import { expectWorksAgain, Scenario, SCENARIOS } from '../support/faults/verb-scenarios';

jest.setTimeout(900_000);

/** How long Berth waits for the call that hangs, and for any other: slow is no fault. */
const HANGS_MS = 500;
const PATIENCE_SECONDS = 60;

const SWEEP_EVERY_MS = 1_000;

describe('a fault at any call to Docker', () => {
  const docker = new RealDocker();
  const instance = `test-faults-${String(process.pid)}`;
  let proxy: DockerProxy;
  let berth: Berth;
  let api: ApiClient;
  /** Which call will hang; null if none. */
  let hanging: number | null = null;

  beforeAll(async () => {
    proxy = await DockerProxy.open();
    berth = await Berth.start({
      environment: {
        INSTANCE_ID: instance,
        DOCKER_HOST: proxy.dockerHost,
        // The calls to Docker are the same under gVisor, which starts and stops containers more slowly.
        SANDBOX_RUNTIME: 'runc',
        STOP_GRACE_SECONDS: '1',
        DOCKER_TIMEOUT_SECONDS: String(PATIENCE_SECONDS),
        SWEEP_INTERVAL_SECONDS: '3600',
      },
    });
    // Berth reads it at each call. What is not there could be defined as well, and each call would hang for a minute.
    const { daemon } = berth.app.get<{ daemon: DockerDaemon }>(ContainerEngine);
    expect(daemon.timeoutMs).toBe(PATIENCE_SECONDS * 1_000);
    Object.defineProperty(daemon, 'timeoutMs', {
      get: () => (proxy.calls.length + 1 === hanging ? HANGS_MS : PATIENCE_SECONDS * 1_000),
    });
  });

  afterAll(async () => {
    await berth.stop();
    await proxy.close();
    await docker.removeInstance(instance);
  });

  beforeEach(async () => {
    api = (await berth.user('enterprise')).api;
  });

  afterEach(() => disarm());

  describe.each<Fault>(['refuse', 'drop', 'hang'])('(%s)', (fault) => {
    it.each(SCENARIOS)('of a $name must leave row, Docker and events in agreement, and the verb working', (scenario) =>
      atEveryCall((nth) => survives(scenario, fault, nth)),
    );
  });

  it('must change nothing while Docker is away, and say so', async () => {
    const { db_id } = await api.running();
    const before = (await api.get(db_id)).body;
    proxy.down = true;
    try {
      for (const answer of [await api.start(db_id), await api.stop(db_id), await api.delete(db_id)]) {
        expect(answer.status).toBe(500);
        expect(answer.body).toMatchObject({ code: 'docker_unavailable', error: expect.stringMatching(/^failed to /) });
      }
      expect((await api.get(db_id)).body).toEqual({ ...before, idle_seconds: expect.any(Number) });
    } finally {
      proxy.down = false;
    }
    await settling(() => expectSettled(api, docker, db_id));
    expect((await api.stop(db_id)).status).toBe(200);
  });

  it('must show that neither the new nor the old container of a resize starts, and start it when that works', async () => {
    const { db_id, id } = await api.running();
    const before = (await api.get(db_id)).body;
    // No sweep comes meanwhile.
    proxy.onCall = (call) => (call.endsWith('/start') ? { fault: 'refuse' } : null);
    const answer = await api.update(db_id, { name: before['name'], memory_mb: 512, cpu_shares: 750, disk_mb: 2048 });
    expect(answer.status).toBe(500);
    await eventually(async () => expect((await api.get(db_id)).body).toMatchObject({ id, status: 'stopped' }));
    proxy.onCall = () => null;
    await eventually(async () =>
      expect((await api.get(db_id)).body).toMatchObject({ id, status: 'running', resources: before['resources'] }),
    );
    await expectSettled(api, docker, db_id);
  });

  function disarm(): void {
    proxy.arm(null);
    proxy.onCall = () => null;
    hanging = null;
  }

  /** Sweeps all the while, and once more when the work is done; never otherwise, as a sweep calls Docker too. */
  async function settling<T>(work: () => Promise<T>): Promise<T> {
    const reconciler = berth.app.get(Reconciler);
    const done = new AbortController();
    const sweeping = (async () => {
      while (!done.signal.aborted) {
        await reconciler.sweep();
        await delay(SWEEP_EVERY_MS, undefined, { signal: done.signal }).catch(() => undefined);
      }
    })();
    try {
      return await work();
    } finally {
      done.abort();
      await sweeping;
      await reconciler.sweep();
    }
  }

  /** @returns whether the fault struck; if not, the verb has no call of this number */
  async function survives(scenario: Scenario, fault: Fault, nth: number): Promise<boolean> {
    const prepared = await settling(() => scenario.prepare(api, docker));
    const before = prepared === null ? null : (await api.get(prepared)).body;
    // A lost answer to a question changes nothing that a refused one does not.
    proxy.arm({ fault, nth, writesOnly: fault !== 'refuse' });
    hanging = fault === 'hang' ? nth : null;
    const answer = await scenario.act(api, prepared);
    const dbId = prepared ?? String(answer.body['db_id']);
    if (scenario.name === 'create') await untilStruckOrOver(dbId);
    const struck = proxy.struck !== null;
    disarm();
    const where = `${fault} at call ${String(nth)} of ${scenario.name}: ${JSON.stringify(answer.body)}`;
    try {
      if (!struck) expect(answer.status).toBeLessThan(300);
      const settled = await settling(() => expectSettled(api, docker, dbId));
      if (answer.status >= 500 && /update|delete/.test(scenario.name)) {
        expect(settled).toMatchObject({
          // A resize resumes a paused container first, and that stays.
          status:
            before?.['status'] === 'paused'
              ? (expect.stringMatching(/^(paused|running)$/) as unknown)
              : before?.['status'],
          resources: before?.['resources'],
          id: before?.['id'],
        });
      }
      await settling(() => expectWorksAgain(scenario, { api, docker, dbId }));
    } catch (error) {
      if (error instanceof Error) error.message = `${where}\n${error.message}`;
      throw error;
    }
    return struck;
  }

  /** A creation goes on after its answer. */
  async function untilStruckOrOver(dbId: string): Promise<void> {
    await eventually(
      async () => {
        if (proxy.struck !== null) return;
        expect(['running', 'error']).toContain((await api.get(dbId)).body['status']);
      },
      { timeoutMs: 120_000 },
    );
  }
});

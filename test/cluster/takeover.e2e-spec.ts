import { ApiClient, SMALL } from '../support/api-client';
import { BerthProcess } from '../support/berth-process';
import { Cluster } from '../support/cluster';
import { DockerProxy } from '../support/docker-proxy';
import { eventually } from '../support/eventually';
import { expectSettled } from '../support/expect-settled';
import { TcpProxy } from '../support/tcp-proxy';

jest.setTimeout(300_000);

/** Neither the end of a term nor a sweep may be what takes an operation over; and what is deleted is purged at once. */
const PATIENT = {
  OPERATION_CLAIM_SECONDS: '600',
  SWEEP_INTERVAL_SECONDS: '600',
  ORPHAN_GRACE_SECONDS: '0',
  STOP_GRACE_SECONDS: '1',
  VOLUME_RETENTION: '0s',
};

/** 5 s is what is promised; the machine may be busy. */
const TAKEN_OVER_WITHIN_MS = 10_000;

const CREATION = /^POST .*\/containers\/create$/;
const STOP = /^POST .*\/containers\/:id\/stop$/;
const VOLUME_REMOVAL = /^DELETE .*\/volumes\//;
const LARGER = { ...SMALL, memory_mb: 512 };

/** Two processes of one Berth, one of which can be cut off from its database and its Docker. */
class Pair {
  private constructor(
    readonly cluster: Cluster,
    readonly victim: BerthProcess,
    readonly docker: DockerProxy,
    readonly database: TcpProxy,
  ) {}

  static async start(environment: Readonly<Record<string, string>>): Promise<Pair> {
    const docker = await DockerProxy.open();
    const cluster = await Cluster.start('takeover', { processes: 1, environment });
    const url = new URL(cluster.environment['DATABASE_URL'] ?? '');
    const database = new TcpProxy({ host: url.hostname, port: Number(url.port) });
    await database.up();
    url.host = `127.0.0.1:${String(database.port)}`;
    const own = { DATABASE_URL: url.href, DOCKER_HOST: docker.dockerHost };
    const victim = new BerthProcess({ ...cluster.environment, ...own });
    await victim.start();
    return new Pair(cluster, victim, docker, database);
  }

  /** The same new user as a client of both. */
  async user(): Promise<{ victim: ApiClient; survivor: ApiClient }> {
    const [survivor] = await this.cluster.user();
    if (!survivor) throw new Error('nobody survives');
    return { survivor, victim: new ApiClient(this.victim.url, survivor.token) };
  }

  /**
   * Has the victim ask Docker for this and get no answer before `release`; Docker has done it when `reached` resolves.
   */
  hold(call: RegExp): { reached: Promise<void>; release: () => void } {
    let release = (): void => undefined;
    const until = new Promise<void>((resolve) => (release = resolve));
    const reached = new Promise<void>((resolve) => {
      this.docker.onCall = (made) => {
        if (!call.test(made)) return null;
        this.docker.onCall = () => null;
        resolve();
        return { fault: 'delay', until };
      };
    });
    return { reached, release };
  }

  /**
   * Resolves when the victim has asked Docker for all of these; it gets no answer any more. A stop is made all the
   * same, a removal is not.
   */
  async untilHeld(calls: readonly { call: RegExp; of: string }[]): Promise<void> {
    const left = [...calls];
    await new Promise<void>((resolve) => {
      this.docker.onCall = (made, path) => {
        const index = left.findIndex(({ call, of }) => call.test(made) && path.includes(of));
        if (index < 0) return null;
        const [held] = left.splice(index, 1);
        if (left.length === 0) resolve();
        return { fault: held?.call === STOP ? 'hang' : 'kill_before' };
      };
    });
  }

  /** What the victim has changed in Docker since the last `arm`. */
  get writes(): string[] {
    return this.docker.calls.filter((call) => !/^(GET|HEAD) /.test(call));
  }

  async stop(): Promise<void> {
    this.victim.resume();
    await this.victim.kill();
    await this.cluster.stop();
    await this.docker.close();
    await this.database.down();
  }
}

/** More often than a process has connections to the database, so that none is kept after its end. */
const LOSSES = 12;

describe('what a process was at', () => {
  let pair: Pair;

  beforeAll(async () => {
    pair = await Pair.start(PATIENT);
  });

  afterAll(() => pair.stop());

  it('must be its own still where only the connection that shows its life was lost, again and again', async () => {
    const { victim, survivor } = await pair.user();
    const { db_id, name } = await survivor.running();
    const lose = async (): Promise<void> => {
      const [before] = await sessions();
      await pair.cluster.sql('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1', [
        'berth presence',
      ]);
      await eventually(async () => {
        const [after] = await sessions();
        expect(after).toBeDefined();
        expect(after).not.toBe(before);
      });
    };
    // One right after the other would look like a single long absence.
    for (let losses = 1; losses < LOSSES; losses += 1) await lose();
    const { reached, release } = pair.hold(CREATION);
    const asked = victim.update(db_id, { name, ...LARGER });
    await reached;
    await lose();
    release();
    expect(await asked).toMatchObject({ status: 200, body: { restarted: true } });
    await expectSettled(survivor, pair.cluster.docker, db_id);
  });

  it('must be taken over where it lost the database, and then it must not act any more', async () => {
    const { victim, survivor } = await pair.user();
    const { db_id, name } = await survivor.running();
    const { reached, release } = pair.hold(CREATION);
    const asked = victim.update(db_id, { name, ...LARGER });
    await reached;
    await pair.database.down();
    const lost = Date.now();
    expect((await survivor.stop(db_id)).status).toBe(200);
    expect(Date.now() - lost).toBeLessThan(TAKEN_OVER_WITHIN_MS);
    pair.docker.arm(null);
    release();
    await pair.database.up();
    expect((await asked).status).toBe(500);
    expect(pair.writes).toEqual([]);
    expect(await expectSettled(survivor, pair.cluster.docker, db_id)).toMatchObject({ status: 'stopped' });
  });

  it('must be taken over within seconds of its death: what a request waits for, what nobody asks for, a purge', async () => {
    const { victim, survivor } = await pair.user();
    const made = await Promise.all([survivor.running(), survivor.running(), survivor.running()]);
    const [{ db_id: awaited }, { db_id: alone }, { db_id: purged }] = made;
    const { docker } = pair.cluster;
    const held = pair.untilHeld([
      { call: STOP, of: made[0].id },
      { call: STOP, of: made[1].id },
      { call: VOLUME_REMOVAL, of: purged },
    ]);
    const asked = [victim.stop(awaited), victim.stop(alone), victim.delete(purged)].map((call) =>
      call.catch(() => null),
    );
    await held;
    await pair.victim.kill();
    await Promise.all(asked);
    const died = Date.now();
    expect(await docker.volumeExists(`berth-${purged}`)).toBe(true);
    expect(await survivor.start(awaited)).toMatchObject({ status: 200, body: { status: 'running' } });
    expect(Date.now() - died).toBeLessThan(TAKEN_OVER_WITHIN_MS);
    const timeoutMs = TAKEN_OVER_WITHIN_MS;
    await eventually(async () => expect((await survivor.get(alone)).body).toMatchObject({ status: 'stopped' }), {
      timeoutMs,
    });
    await eventually(async () => expect(await docker.volumeExists(`berth-${purged}`)).toBe(false), { timeoutMs });
    await expectSettled(survivor, docker, awaited);
  });

  /** The sessions that show the victim's life, by their process in PostgreSQL. */
  async function sessions(): Promise<unknown[]> {
    const ports = pair.database.outgoingPorts;
    const rows = await pair.cluster.sql('SELECT pid, client_port FROM pg_stat_activity WHERE application_name = $1', [
      'berth presence',
    ]);
    return rows.filter(({ client_port }) => ports.includes(Number(client_port))).map(({ pid }) => pid);
  }
});

describe('what a paused process was at', () => {
  const TERM_SECONDS = 6;
  let pair: Pair;

  beforeAll(async () => {
    pair = await Pair.start({
      ...PATIENT,
      OPERATION_CLAIM_SECONDS: String(TERM_SECONDS),
      OPERATION_WAIT_SECONDS: '60',
    });
  });

  afterAll(() => pair.stop());

  it('must be its own until its term is over; then it must be taken over, and the process not act any more', async () => {
    const { victim, survivor } = await pair.user();
    const { db_id, name } = await survivor.running();
    const { reached, release } = pair.hold(CREATION);
    const asked = victim.update(db_id, { name, ...LARGER });
    await reached;
    pair.victim.pause();
    const paused = performance.now();
    expect((await survivor.stop(db_id)).status).toBe(200);
    // It renews at a third of its term.
    expect(performance.now() - paused).toBeGreaterThan((TERM_SECONDS * 1000 * 2) / 3 - 1_000);
    pair.docker.arm(null);
    release();
    pair.victim.resume();
    expect((await asked).status).toBe(500);
    expect(pair.writes).toEqual([]);
    expect(await expectSettled(survivor, pair.cluster.docker, db_id)).toMatchObject({ status: 'stopped' });
  });
});

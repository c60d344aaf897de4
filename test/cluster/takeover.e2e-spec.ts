import { SMALL } from '../support/clients/api-client';
import { eventually } from '../support/eventually';
import { expectSettled } from '../support/databases/expect-settled';
import { STOP, VictimAndSurvivor } from '../support/servers/victim-and-survivor';

jest.setTimeout(300_000);

/** 5 s is what is promised; the machine may be busy. */
const TAKEN_OVER_WITHIN_MS = 10_000;

const CREATION = /^POST .*\/containers\/create$/;
const VOLUME_REMOVAL = /^DELETE .*\/volumes\//;
const LARGER = { ...SMALL, memory_mb: 512 };

/** More often than a process has connections to the database, so that none is kept after its end. */
const LOSSES = 12;

describe('what a process was at', () => {
  let pair: VictimAndSurvivor;

  beforeAll(async () => {
    pair = await VictimAndSurvivor.start('takeover', { environment: { VOLUME_RETENTION: '0s' } });
  });

  afterAll(() => pair.stop());

  it('must be its own still where only the connection that shows its life was lost, again and again', async () => {
    const { victim, survivor } = await pair.user();
    const { db_id, name } = await survivor.running();
    const lose = async (): Promise<void> => {
      const [before] = await sessions();
      // Of this database: servers of other tests are on the same PostgreSQL.
      const ofThese = 'datname = current_database() AND application_name = $1';
      await pair.cluster.sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${ofThese}`, [
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
    const { reached, release } = pair.hold(CREATION, db_id);
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
    const { reached, release } = pair.hold(CREATION, db_id);
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

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises';
import { Berth } from '../support/servers/berth';
import { collectGarbage } from '../support/collect-garbage';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { FloodingShell } from '../support/fakes/flooding-shell';

jest.setTimeout(120_000);

const PER_CONTAINER = 8;
const TERMINALS = 200;
const USERS = 5;
const FLOODS = 20;
const FLOOD_MS = 5_000;
const AT_REST_BYTES = 60 * 1024;
const LONGEST_TURN_MS = 50;

describe('two hundred terminals on one server', () => {
  let berth: Berth;
  let crowd: ChildProcess | null = null;

  beforeAll(async () => {
    const engine = new FakeEngine(new FakeDaemon());
    jest.spyOn(engine.programs, 'start').mockImplementation(() => Promise.resolve(new FloodingShell()));
    berth = await Berth.start({ engine });
  });

  afterAll(async () => {
    crowd?.kill();
    await berth.stop();
  });

  it('must take little memory each at rest, and hardly more nor hold the server up while twenty flood', async () => {
    const users = await Promise.all(
      Array.from({ length: USERS }, async () => {
        const { api, token } = await berth.user('enterprise');
        const count = TERMINALS / PER_CONTAINER / USERS;
        const made = await Promise.all(Array.from({ length: count }, () => api.running()));
        return { token, containers: made.map(({ db_id }) => db_id) };
      }),
    );
    const before = await used();
    const plan = JSON.stringify({ url: berth.url, perContainer: PER_CONTAINER, users });
    crowd = fork(require.resolve('./terminal-crowd.js'), { env: { ...process.env, CROWD: plan } });
    expect(await said(crowd)).toEqual({ attached: TERMINALS });
    const each = ((await used()) - before) / TERMINALS;

    // Told, not asserted: it is as long as others on the machine make it.
    const atRest = await loopDelay(FLOOD_MS / 2);
    crowd.send({ flood: FLOODS });
    const [loop, turns] = await Promise.all([loopDelay(FLOOD_MS), turnsOf(FLOOD_MS)]);
    const flooded = (await used()) - before;
    crowd.send({ count: true });
    const { bytes, closed } = (await said(crowd)) as { bytes: number; closed: number };
    const p99 = loop.percentile(99) / 1e6;
    const busy = turns[Math.floor(turns.length * 0.99)] ?? Infinity;
    process.stdout.write(
      `  a terminal at rest: ${(each / 1024).toFixed(1)} KB; flood: ${(bytes / 2 ** 20).toFixed(0)} MiB in ` +
        `${String(FLOOD_MS)} ms, event loop p50 ${(loop.percentile(50) / 1e6).toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, ` +
        `max ${(loop.max / 1e6).toFixed(1)} ms, of the processor's time p99 ${busy.toFixed(1)} ms, ` +
        `max ${(turns.at(-1) ?? 0).toFixed(1)} ms (at rest p99 ${(atRest.percentile(99) / 1e6).toFixed(1)} ms); ${(flooded / 2 ** 20).toFixed(1)} MiB in all\n`,
    );
    expect(closed).toBe(0);
    expect(bytes).toBeGreaterThan(20 * 2 ** 20);
    expect(each).toBeLessThan(AT_REST_BYTES);
    expect(busy).toBeLessThan(LONGEST_TURN_MS);
    // The rings, the windows, and what is being sent.
    expect(flooded).toBeLessThan(TERMINALS * AT_REST_BYTES + FLOODS * 2 * 2 ** 20);
    crowd.kill();
    await eventually(() => expect(crowd?.signalCode).toBe('SIGTERM'));
  });
});

async function loopDelay(ms: number): Promise<IntervalHistogram> {
  const loop = monitorEventLoopDelay({ resolution: 1 });
  loop.enable();
  await delay(ms);
  loop.disable();
  return loop;
}

/**
 * What each turn of the event loop took of the processor's time, the shortest first, in milliseconds: unlike its delay
 * the same on a machine that others use too.
 */
async function turnsOf(ms: number): Promise<number[]> {
  const taken: number[] = [];
  const until = performance.now() + ms;
  for (let before = process.cpuUsage(); performance.now() < until; before = process.cpuUsage()) {
    await turn();
    const { user, system } = process.cpuUsage(before);
    taken.push((user + system) / 1000);
  }
  return taken.sort((a, b) => a - b);
}

async function said(child: ChildProcess): Promise<unknown> {
  return ((await once(child, 'message')) as unknown[])[0];
}

/** What is alive, in bytes. */
async function used(): Promise<number> {
  await collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { ApiClient } from '../support/api-client';
import { RealDocker } from '../support/real-docker';
import { SeededRandom } from '../support/seeded-random';
import { FaultyCluster } from './faulty-cluster';
import { Cohabitation } from './cohabitation';
import { DatabaseOutages } from './database-outages';
import { DockerWatch } from './docker-watch';
import { FaultInjector } from './fault-injector';
import { FAULTS, scheduleFaults } from './fault-schedule';
import { findTruth } from './find-truth';
import { Follower } from './follower';
import * as invariants from './invariants';
import { Journal } from './journal';
import { Marks } from './marks';
import { OPERATIONS, SIZES, TIER_NAMES, USERS } from './setting';
import { Traffic } from './traffic';
import type { Truth } from './truth';
import { User } from './user';

/** Five minutes on two idle processors; a machine that has other work too must not fail for it. */
const RUN_MS = 30 * 60_000;
/** By when everything has to have settled after the last fault. */
const SETTLE_MS = 180_000;

const seed = Number(process.env['BERTH_TEST_SEED'] ?? randomInt(2 ** 31));

const INVARIANTS: Readonly<Record<string, (truth: Truth, marksOf: invariants.MarksOf) => string[]>> = {
  'nothing must be stuck in an operation': invariants.stuck,
  'every row must be what Docker has': invariants.rowsUnlikeDocker,
  'no container must be without a row': invariants.orphanContainers,
  'no volume must be without a row': invariants.orphanVolumes,
  'no data must be lost': invariants.lostData,
  "the tiers' counts must be exact": invariants.wrongCounts,
  'events must be numbered without a gap, and each told once': invariants.eventGaps,
  'replaying the events must give the list': invariants.replayUnlikeList,
};

/**
 * Many users over several processes, while everything that Berth stands on fails at times. `BERTH_TEST_SEED` makes the same
 * users want the same things, and the same faults happen at the same operations; how they meet is the machine's.
 */
describe(`operations under faults (BERTH_TEST_SEED=${String(seed)})`, () => {
  const docker = new RealDocker();
  const journal = new Journal();
  const marks = new Marks(docker, journal);
  const marksOf: invariants.MarksOf = (dbId) => marks.of(dbId);
  const users: { user: User; follower: Follower; random: SeededRandom }[] = [];
  const cohabitation = new Cohabitation();
  let cluster: FaultyCluster;
  let watch: DockerWatch;
  let truth: Truth;
  /** How many of the creations of the last rush were accepted too few or too many. */
  const rushFaults: string[] = [];

  /** Each part of the run makes its own choices, so that one more of one does not change those of the others. */
  const randomFor = (index: number): SeededRandom => new SeededRandom((seed + index * 0x9e3779b1) >>> 0);

  beforeAll(async () => {
    journal.say(`BERTH_TEST_SEED=${String(seed)}: ${String(OPERATIONS)} operations of ${String(USERS)} users`);
    cluster = await FaultyCluster.open(journal);
    watch = new DockerWatch(cluster.instance, docker, cohabitation, journal);
    await makeUsers();
    const outages = new DatabaseOutages();
    const random = randomFor(-1);
    const injector = new FaultInjector(scheduleFaults(randomFor(-2), OPERATIONS), {
      ...{ cluster, docker, outages, cohabitation, random, journal },
    });
    const onOperation = (operation: number): void => {
      if (operation % 250 === 0) journal.say(`${String(operation)} operations`);
      injector.onOperation(operation);
    };
    cluster.strike(randomFor(-3));
    await new Traffic({ cluster, marks, outages, journal, onOperation }).run(users);
    await injector.over();
    await cluster.calm();
    journal.say('no more faults; settling');
    await settle();
    await rush();
    await settle();
    journal.say('settled');
    report();
  }, RUN_MS);

  afterAll(async () => {
    for (const { follower } of users) await follower.close();
    await watch.close();
    await cluster.close();
    await docker.removeInstance(cluster.instance);
    await journal.close();
  }, 600_000);

  it(`must have been ${String(OPERATIONS)} operations and every kind of fault`, () => {
    expect(journal.count('operation')).toBeGreaterThanOrEqual(OPERATIONS);
    for (const fault of FAULTS) expect([fault, journal.count('fault', fault)]).not.toEqual([fault, 0]);
    expect(journal.count('strike')).toBeGreaterThan(0);
    expect(journal.count('mark', 'written')).toBeGreaterThan(0);
  });

  it('during all of it only documented answers must come, no process end by itself, and never two containers run on one volume', () => {
    expect(journal.complaints).toEqual([]);
  });

  it.each(Object.entries(INVARIANTS))('%s', (_promise, contradictions) => {
    expect(contradictions(truth, marksOf)).toEqual([]);
  });

  it('after all of it each user must be able to create up to the limit, and not one more', () => {
    expect(rushFaults).toEqual([]);
  });

  async function makeUsers(): Promise<void> {
    for (let index = 0; index < USERS; index += 1) {
      const name = `user-${String(index + 1)}`;
      const tier = TIER_NAMES[index % TIER_NAMES.length] ?? 'one';
      const token = await cluster.token(name, tier);
      const random = randomFor(index);
      const follower = new Follower({ name, token }, cluster, randomFor(1_000 + index), journal);
      users.push({ user: new User(name, token, tier, random), follower, random });
    }
  }

  /** Waits until every invariant holds; what does not at the end of the time is for the tests to tell. */
  async function settle(): Promise<void> {
    const deadline = Date.now() + SETTLE_MS;
    for (;;) {
      const isLast = Date.now() > deadline;
      const found = await contradictions().catch((error: unknown) => {
        // What goes while it is looked at, a volume whose time is over above all, is gone at the next look.
        if (isLast) throw error;
        return [String(error)];
      });
      if (found.length === 0 || isLast) return;
      journal.note('unsettled', String(found.length), { found: found.slice(0, 10) });
      await delay(1_000);
    }
  }

  async function contradictions(): Promise<string[]> {
    truth = await findTruth(cluster, docker, users);
    return Object.values(INVARIANTS).flatMap((found) => found(truth, marksOf));
  }

  /** Every user asks for more containers than the tier has left, all at once and from all processes. */
  async function rush(): Promise<void> {
    await Promise.all(
      truth.users.map(async ({ name, limit, list }, userIndex) => {
        const token = users[userIndex]?.user.token ?? '';
        const left = limit - list.usage.containers;
        const asked = Array.from({ length: left + 2 }, (_none, index) => {
          const { url } = cluster.members[index % cluster.members.length] ?? {};
          return new ApiClient(url ?? '', token).create(SIZES[0]);
        });
        const statuses = (await Promise.all(asked)).map(({ status }) => status).sort();
        const ought = [...Array.from({ length: left }, () => 202), 403, 403];
        if (statuses.join() !== ought.join()) rushFaults.push(`${name}: ${statuses.join()} instead of ${ought.join()}`);
      }),
    );
  }

  function report(): void {
    for (const kind of ['operation', 'fault', 'strike', 'mark', 'follower', 'process']) {
      journal.say(`${String(journal.count(kind))} × ${kind}: ${journal.summary(kind)}`);
    }
  }
});

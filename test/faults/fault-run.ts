import { setTimeout as delay } from 'node:timers/promises';
import { type Answer, ApiClient } from '../support/clients/api-client';
import { RealDocker } from '../support/docker/real-docker';
import { SeededRandom } from '../support/seeded-random';
import type { TestNodes } from '../support/docker/test-nodes';
import { Cohabitation } from './cohabitation';
import { DatabaseView } from './database-view';
import { DockerWatch } from './docker-watch';
import { Excuses } from './excuses';
import { type Actions, FaultInjector, type Parts, Turns } from './fault-injector';
import { scheduleFaults, type Times } from './fault-schedule';
import { FaultyCluster } from './faulty-cluster';
import { findTruth } from './find-truth';
import { Follower } from './follower';
import * as invariants from './invariants';
import { Journal } from './journal';
import { LiveWatch } from './live-watch';
import { Marks } from './marks';
import { RunSetting, SIZES, TIER_NAMES } from './setting';
import { inTime, whatIsThere } from './settling';
import { Traffic } from './traffic';
import type { Truth } from './truth';
import { User } from './user';

/** Maximum time for the remaining faults: one of each kind may be left, some of which take a minute. */
const FAULTS_OVER_MS = 300_000;
/** Maximum time until every process listens again after the faults. */
const CALM_MS = 120_000;
/** Maximum time until the run has settled after that. */
const SETTLE_MS = 180_000;
/** Maximum time of one look. It reads everything of each user: a second or two on an idle machine. */
const LOOK_MS = 180_000;

export const INVARIANTS: Readonly<Record<string, (truth: Truth, marksOf: invariants.MarksOf) => string[]>> = {
  'nothing must be stuck in an operation': invariants.stuck,
  'every row must be what Docker has': invariants.rowsUnlikeDocker,
  'no container must be without a row': invariants.orphanContainers,
  'no volume must be without a row': invariants.orphanVolumes,
  'no data must be lost': invariants.lostData,
  'every snapshot must be ready and whole, or have failed': invariants.brokenSnapshots,
  'nothing must be left of a snapshot': invariants.leftOfSnapshots,
  "the tiers' counts must be exact": invariants.wrongCounts,
  'what is reserved must be what runs': invariants.wrongReserves,
  'events must be numbered without a gap, and each told once': invariants.eventGaps,
  'replaying the events must give the list': invariants.replayUnlikeList,
};

/** A user who makes requests, with the client that follows their events. */
interface Observed {
  readonly user: User;
  readonly follower: Follower;
  readonly random: SeededRandom;
}

/**
 * Many users make requests while every service that Berth depends on fails at times. The same seed gives the same
 * requests, and the same faults at the same operations; how they coincide depends on the machine.
 */
export class FaultRun {
  readonly journal: Journal;
  /** Users of the last rush for whom too few or too many creations were accepted. */
  readonly rushFaults: string[] = [];
  private readonly dockers: readonly RealDocker[];
  private readonly marks: Marks;
  /** The administrator. Its requests are those of node faults only; its follower hears of the nodes. */
  private operator!: Observed;
  private readonly users: Observed[] = [];
  private readonly cohabitation = new Cohabitation();
  private cluster!: FaultyCluster;
  private database!: DatabaseView;
  private watches: { close(): Promise<void> }[] = [];
  /** The result of the last look. */
  private truth: Truth | null = null;

  constructor(
    readonly setting: RunSetting,
    private readonly seed: number,
    private readonly nodes: TestNodes | null = null,
  ) {
    this.journal = new Journal(setting.name);
    this.dockers = nodes?.nodes ?? [new RealDocker()];
    this.marks = new Marks(this.dockers, this.journal);
  }

  async perform<F extends string>(times: Times<F>, actionsOf: (parts: Parts) => Actions<F>): Promise<void> {
    const { journal, dockers, nodes, cohabitation, seed } = this;
    const { operations, users } = this.setting;
    journal.say(`BERTH_TEST_SEED=${String(seed)}: ${String(operations)} operations of ${String(users)} users`);
    await nodes?.allWell();
    const cluster = await FaultyCluster.open(this.setting, { journal, nodes });
    this.cluster = cluster;
    const database = new DatabaseView(cluster.database.url);
    this.database = database;
    const excuses = new Excuses();
    const watched = dockers.map((docker) => new DockerWatch(cluster.instance, docker, cohabitation, journal));
    this.watches.push(...watched, new LiveWatch(cluster, excuses, journal));
    await this.makeUsers();
    const injector = new FaultInjector(
      scheduleFaults(times, this.randomFor(-2), operations),
      actionsOf({
        cluster,
        dockers,
        database,
        users: this.users.map(({ user }) => user),
        operator: this.operator.user.token,
        excuses,
        cohabitation,
        random: this.randomFor(-1),
        journal,
        turns: new Turns(),
      }),
      journal,
    );
    const onOperation = (operation: number): void => {
      if (operation % 250 === 0) journal.say(`${String(operation)} operations`);
      injector.onOperation(operation);
    };
    cluster.strike(this.randomFor(-3));
    const { marks, setting } = this;
    await new Traffic({ cluster, marks, excuses, journal, setting, onOperation }).run(this.users);
    journal.say('no more operations');
    await inTime(FAULTS_OVER_MS, injector.over(), { what: 'the faults', left: () => injector.left() });
    await inTime(CALM_MS, cluster.calm(), { what: 'the start of the processes', left: () => this.whatIsThere() });
    journal.say('no more faults; settling');
    if (await this.settle()) {
      await this.rush();
      await this.settle();
    } else {
      this.rushFaults.push('not tried, as the run had not settled');
    }
    this.report();
  }

  async close(): Promise<void> {
    // The run did not even start.
    if (this.watches.length === 0) return;
    for (const { follower } of this.everybody) await follower.close();
    for (const watch of this.watches) await watch.close();
    await this.nodes?.allWell();
    await this.cluster.close();
    for (const docker of this.dockers) await docker.removeInstance(this.cluster.instance);
    await this.journal.close();
  }

  /** @returns the violations of one promise at the end of the run */
  contradictions(found: (truth: Truth, marksOf: invariants.MarksOf) => string[]): string[] {
    if (!this.truth) throw new Error('nothing could be looked at');
    return found(this.truth, (dbId) => this.marks.of(dbId));
  }

  /**
   * Each part of the run has its own random numbers, so that one more choice of one part does not change the others.
   */
  private randomFor(index: number): SeededRandom {
    return new SeededRandom((this.seed + index * 0x9e3779b1) >>> 0);
  }

  private get everybody(): readonly Observed[] {
    return [...this.users, this.operator];
  }

  private async makeUsers(): Promise<void> {
    const { users } = this.setting;
    for (let index = 0; index < users; index += 1) {
      const tier = TIER_NAMES[index % TIER_NAMES.length] ?? 'one';
      this.users.push(await this.makeUser(index, { name: `user-${String(index + 1)}`, tier }));
    }
    const more = ['--scopes', 'read,write,admin'];
    this.operator = await this.makeUser(users, { name: 'operator', tier: 'one', more });
  }

  private async makeUser(
    index: number,
    { name, tier, more = [] }: { name: string; tier: string; more?: readonly string[] },
  ): Promise<Observed> {
    const token = await this.cluster.token(name, tier, more);
    const random = this.randomFor(index);
    const follower = new Follower({ name, token }, this.cluster, this.randomFor(1_000 + index), this.journal);
    return { user: new User(name, token, tier, random, this.setting.verbs), follower, random };
  }

  /**
   * Waits until every invariant holds. After the time limit the violations and the remaining state are printed, and
   * the tests fail.
   *
   * @returns whether every invariant holds
   */
  private async settle(): Promise<boolean> {
    const deadline = Date.now() + SETTLE_MS;
    for (;;) {
      const look = inTime(LOOK_MS, this.look(), { what: 'a look', left: () => this.whatIsThere() });
      // A look can fail on an object that is removed meanwhile, usually an expired volume. The next look does not see
      // it.
      const found = await look.catch((error: unknown) => [String(error)]);
      if (found.length === 0) {
        this.journal.say('settled');
        return true;
      }
      this.journal.note('unsettled', String(found.length), { found: found.slice(0, 10) });
      if (Date.now() > deadline) {
        this.journal.complain(`not settled after ${String(SETTLE_MS)} ms: ${found.join('; ')}`);
        for (const line of [...found, ...(await this.whatIsThere())]) this.journal.say(`not settled: ${line}`);
        return false;
      }
      await delay(1_000);
    }
  }

  private whatIsThere(): Promise<string[]> {
    return whatIsThere({ cluster: this.cluster, database: this.database, dockers: this.dockers });
  }

  private async look(): Promise<string[]> {
    const { cluster, database, dockers } = this;
    this.truth = await findTruth({ cluster, database, dockers }, this.everybody);
    return Object.values(INVARIANTS).flatMap((found) => this.contradictions(found));
  }

  /** Every user asks for more containers than the tier has left, all at once and from all processes. */
  private async rush(): Promise<void> {
    await Promise.all(
      (this.truth?.users ?? []).map(async ({ name, limit, list }, userIndex) => {
        const token = this.everybody[userIndex]?.user.token ?? '';
        const left = limit - list.usage.containers;
        const asked = Array.from({ length: left + 2 }, (_none, index) => {
          const { url } = this.cluster.members[index % this.cluster.members.length] ?? {};
          return created(new ApiClient(url ?? '', token));
        });
        const statuses = (await Promise.all(asked)).map(({ status }) => status).sort();
        const ought = [...Array.from({ length: left }, () => 202), 403, 403];
        if (statuses.join() === ought.join()) return;
        this.rushFaults.push(`${name}: ${statuses.join()} instead of ${ought.join()}`);
      }),
    );
  }

  private report(): void {
    for (const kind of this.journal.kinds()) {
      this.journal.say(`${String(this.journal.count(kind))} × ${kind}: ${this.journal.summary(kind)}`);
    }
  }
}

/**
 * Retries as a client that respects `Retry-After`: many creations at once can overload the database of a busy
 * machine.
 */
async function created(api: ApiClient): Promise<Answer> {
  for (;;) {
    const answer = await api.create(SIZES[0]);
    if (answer.status !== 503) return answer;
    await delay(1_000 * Number(answer.headers.get('retry-after')));
  }
}

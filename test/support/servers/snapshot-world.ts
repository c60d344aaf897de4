import { Reconciler } from '../../../src/containers/reconcile/reconciler';
import { type Answer, testImage } from '../clients/api-client';
import type { EventRecorder } from '../clients/socket-client';
import { openTestDatabase, type TestDatabase } from '../databases/test-database';
import { eventually } from '../eventually';
import { type FakeContainer, FakeDaemon } from '../fakes/fake-daemon';
import { FakeEngine } from '../fakes/fake-engine';
import { TestClock } from '../fakes/test-clock';
import { Berth, type TestUser } from './berth';

export const MIB = 2 ** 20;
export const DAY = 24 * 3_600_000;

/** A server on a fake Docker, and for each test a new user with a container that has data and a written layer. */
export class SnapshotWorld {
  readonly clock = new TestClock();
  readonly daemon = new FakeDaemon();
  /** Of the present server; {@link restart} replaces both. */
  engine: FakeEngine;
  berth: Berth;
  user: TestUser;
  events: EventRecorder;
  /** The container of the test. */
  id: string;
  private database: TestDatabase;

  constructor(readonly instance: string) {}

  async open(): Promise<void> {
    this.database = await openTestDatabase();
    await this.restart();
  }

  /** Starts a server on what the one before has left. */
  async restart(): Promise<void> {
    this.engine = new FakeEngine(this.daemon);
    const environment = {
      INSTANCE_ID: this.instance,
      VOLUME_COPY_IMAGE: testImage(),
      ORPHAN_GRACE_SECONDS: '0',
      OPERATION_CLAIM_SECONDS: '4',
      SWEEP_INTERVAL_SECONDS: '1',
      SHUTDOWN_GRACE_SECONDS: '0',
    };
    const { database, engine, clock } = this;
    this.berth = await Berth.start({ database, engine, clock, environment });
  }

  /** Starts a server after the one before has died. The test's user is a client of the new one. */
  async restartAfterDeath(): Promise<void> {
    await this.berth.stop();
    await this.restart();
    this.user = this.berth.as(this.user);
    this.events = await this.berth.record(this.user);
  }

  async begin(): Promise<void> {
    Object.assign(this, await this.berth.newcomer('enterprise'));
    this.id = (await this.user.api.running({ name: 'origin' })).db_id;
    this.daemon.write(`berth-${this.id}`, 'precious', 10 * MIB);
    this.containerOf(this.id).layer = 'nginx';
    this.engine.calls.splice(0);
  }

  async check(): Promise<void> {
    this.engine.forget();
    expect(this.daemon.violations).toEqual([]);
    // The removal of a replaced container, in the background, would take a fault of the next test for its own.
    await eventually(() => {
      const owners = [...this.daemon.containers.values()].map(({ spec }) => spec.owner.containerId);
      expect(owners).toEqual([...new Set(owners)]);
    });
  }

  async close(): Promise<void> {
    await this.berth.stop();
    await this.database.drop();
  }

  readonly containerOf = (dbId: string): FakeContainer => {
    // A container that was replaced is removed in the background.
    const found = [...this.daemon.containers.values()]
      .filter(({ spec }) => spec.owner.containerId === dbId && spec.generation > 0)
      .sort((one, other) => other.spec.generation - one.spec.generation)[0];
    if (!found) throw new Error(`no container of ${dbId}`);
    return found;
  };

  readonly take = (body: object = {}, of = this.id, headers = {}): Promise<Answer> =>
    this.user.api.call('POST', `/api/containers/${of}/snapshots`, body, headers);

  readonly get = (snapshot: unknown): Promise<Answer> =>
    this.user.api.call('GET', `/api/snapshots/${String(snapshot)}`);

  readonly wait = (snapshot: unknown): Promise<Answer> =>
    this.user.api.call('GET', `/api/snapshots/${String(snapshot)}/wait?timeout=20`);

  readonly remove = (snapshot: unknown): Promise<Answer> =>
    this.user.api.call('DELETE', `/api/snapshots/${String(snapshot)}`);

  /** Makes a snapshot and waits for it. @returns its id */
  readonly taken = async (body: object = {}, of = this.id): Promise<string> => {
    const made = await this.take(body, of);
    expect(made.status).toBe(202);
    expect(await this.wait(made.body['id'])).toMatchObject({ status: 200 });
    return String(made.body['id']);
  };

  readonly sweep = (): Promise<unknown> => this.berth.app.get(Reconciler).sweepNow();

  readonly leftOf = (snapshot: string): string[] =>
    [...this.daemon.volumes.keys(), ...this.daemon.images].filter((name) => name.includes(snapshot));

  readonly told = (type: string): Record<string, unknown>[] =>
    this.events.events.filter((event) => event.type === type).map(({ data }) => ({ ...data }));
}

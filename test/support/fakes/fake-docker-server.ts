import { Berth, type BerthOptions, type TestUser } from '../servers/berth';
import type { EventRecorder } from '../clients/socket-client';
import { FakeDaemon } from './fake-daemon';
import { FakeEngine } from './fake-engine';

/** A server on a Docker in memory, with its users: shared by the tests of one subject. */
export class FakeDockerServer {
  private constructor(
    readonly daemon: FakeDaemon,
    readonly engine: FakeEngine,
    readonly berth: Berth,
  ) {}

  /** Sweeps once, at its start, and not again within a test: each test shows the effect of a request. */
  static async start({ environment, ...options }: Omit<BerthOptions, 'engine'> = {}): Promise<FakeDockerServer> {
    const daemon = new FakeDaemon();
    const engine = new FakeEngine(daemon);
    const settings = { SWEEP_INTERVAL_SECONDS: '3600', ...environment };
    return new FakeDockerServer(daemon, engine, await Berth.start({ ...options, engine, environment: settings }));
  }

  /** A new user, with a recorder of their events. */
  newcomer(): Promise<{ user: TestUser; events: EventRecorder }> {
    return this.berth.newcomer();
  }

  /** Fails where two containers ran on one volume. */
  async stop(): Promise<void> {
    await this.berth.stop();
    expect(this.daemon.violations).toEqual([]);
  }
}

import { Berth, TestUser } from './berth';
import { EventRecorder } from '../clients/socket-client';
import { RealDocker } from '../docker/real-docker';

/** More of everything than `SMALL`. */
export const LARGER = { memory_mb: 512, cpu_shares: 750, disk_mb: 2048 } as const;

/** Many operations on one container, each under gVisor, wait for each other. */
export const LONG_WAIT = { OPERATION_WAIT_SECONDS: '60' } as const;

/** A server on real Docker under gVisor, with its users, for the tests of operations. */
export class LifecycleServer {
  private constructor(
    readonly berth: Berth,
    readonly docker: RealDocker,
    readonly instance: string,
  ) {}

  /** @param subject the subject of the test file @param environment settings beside the usual ones */
  static async start(subject: string, environment: Readonly<Record<string, string>> = {}): Promise<LifecycleServer> {
    const instance = `test-${subject}-${String(process.pid)}-${process.env['TEST_DATABASE'] ?? ''}`;
    const berth = await Berth.start({ environment: { INSTANCE_ID: instance, ...LONG_WAIT, ...environment } });
    return new LifecycleServer(berth, new RealDocker(), instance);
  }

  /** A new user, with a recorder of their events. */
  newcomer(): Promise<{ user: TestUser; events: EventRecorder }> {
    return this.berth.newcomer('enterprise');
  }

  /** Leaves nothing in Docker. */
  async stop(): Promise<void> {
    await this.berth.stop();
    await this.docker.removeInstance(this.instance);
  }
}

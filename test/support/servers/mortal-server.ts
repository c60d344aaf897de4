import { ApiClient } from '../clients/api-client';
import { openTestDatabase, type TestDatabase } from '../databases/test-database';
import { RealDocker } from '../docker/real-docker';
import { type ArmedFault, DockerProxy } from '../faults/docker-proxy';
import { eventually } from '../eventually';
import { BerthProcess } from './berth-process';

interface MortalOptions {
  readonly environment?: Readonly<Record<string, string>>;
  /** The scopes of its user's token; absent: those of a new user. */
  readonly scopes?: string;
}

/** A server with a process, a database and a user of its own, on real Docker. It is killed at calls to Docker. */
export class MortalServer {
  readonly docker = new RealDocker();
  private token = '';

  private constructor(
    readonly instance: string,
    private readonly database: TestDatabase,
    private readonly proxy: DockerProxy,
    private readonly berth: BerthProcess,
  ) {}

  /** @param subject the subject of the test file */
  static async start(subject: string, { environment = {}, scopes }: MortalOptions = {}): Promise<MortalServer> {
    const instance = `test-${subject}-${String(process.pid)}-${process.env['TEST_DATABASE'] ?? ''}`;
    const database = await openTestDatabase();
    const proxy = await DockerProxy.open();
    const berth = new BerthProcess({
      DATABASE_URL: database.url,
      INSTANCE_ID: instance,
      DOCKER_HOST: proxy.dockerHost,
      // The calls to Docker are the same under gVisor, which starts and stops containers more slowly.
      SANDBOX_RUNTIME: 'runc',
      OPERATION_CLAIM_SECONDS: '4',
      SWEEP_INTERVAL_SECONDS: '1',
      ORPHAN_GRACE_SECONDS: '0',
      STOP_GRACE_SECONDS: '1',
      ...environment,
    });
    const server = new MortalServer(instance, database, proxy, berth);
    await berth.start();
    await eventually(() => expect(server.hasSupervisor()).resolves.toBe(true), { timeoutMs: 60_000 });
    const more = scopes === undefined ? [] : ['--scopes', scopes];
    server.token = await berth.token(['--user', 'survivor', '--tier', 'enterprise', ...more]);
    return server;
  }

  /** Whether the supervisor's program is in Docker. To write it is no part of what the server dies in. */
  private async hasSupervisor(): Promise<boolean> {
    const { Volumes } = await this.docker.docker.listVolumes({ filters: { name: ['berth-supervisor-'] } });
    return Volumes.some(({ Name }) => !Name.endsWith('-files'));
  }

  /** Its user's client of the running process. */
  get api(): ApiClient {
    return new ApiClient(this.berth.url, this.token);
  }

  /**
   * Kills the process at a call to Docker that `act` leads to, and starts it again.
   *
   * @param act how it ends does not matter
   * @param settled what holds once nothing is under way: the cleanup after an answer makes calls too. Asked until it
   *   does not throw, one look at a time, as the process may be killed under it
   * @returns the call at which the process was killed; null if there was none such
   */
  async dies(
    armed: Omit<ArmedFault, 'onKill'>,
    act: () => Promise<unknown>,
    settled: () => Promise<unknown> = () => Promise.resolve(),
  ): Promise<string | null> {
    const dead = new AbortController();
    const killed = new Promise<void>((resolve) => {
      const onKill = (): void => {
        dead.abort();
        void this.berth.kill().then(resolve);
      };
      this.proxy.arm({ ...armed, onKill });
    });
    const holds = (work: () => Promise<unknown>): Promise<boolean> =>
      work().then(
        () => true,
        () => false,
      );
    const over = holds(act).then(async (isAnswered) => {
      while (isAnswered && !dead.signal.aborted && !(await holds(settled)));
    });
    await Promise.race([killed, over]);
    const { struck } = this.proxy;
    if (struck !== null) await killed;
    this.proxy.arm(null);
    if (!this.berth.isRunning) await this.berth.start();
    return struck;
  }

  async stop(): Promise<void> {
    await this.berth.stop();
    await this.proxy.close();
    await this.docker.removeInstance(this.instance);
    await this.database.drop();
  }
}

import { ApiClient } from '../clients/api-client';
import { BerthProcess } from './berth-process';
import { Cluster } from './cluster';
import { DockerProxy, Fault } from '../faults/docker-proxy';
import { RealDocker } from '../docker/real-docker';

/** Longer than any test waits: neither an expired term nor a sweep may cause the takeover. */
const NEVER_SECONDS = '600';

/** Time after a death until it is noticed and the operation finished, on a slow machine with other work. */
export const TAKEN_UP_WITHIN_MS = 45_000;

/**
 * Three server processes of one Berth, one of which will die. Only that one checks the ends of runs; the survivors do
 * not. So the survivors take over exactly what it began, when its connection to the database has ended.
 */
export class DoomedServer {
  private next: Promise<BerthProcess>;
  private doomed: BerthProcess | null = null;

  private constructor(
    readonly survivors: Cluster,
    readonly docker: RealDocker,
    private readonly proxy: DockerProxy,
  ) {
    this.next = this.another();
  }

  /** @param subject the subject of the test file */
  static async start(subject: string, environment: Readonly<Record<string, string>> = {}): Promise<DoomedServer> {
    const proxy = await DockerProxy.open();
    const survivors = await Cluster.start(subject, {
      processes: 2,
      environment: {
        OPERATION_CLAIM_SECONDS: NEVER_SECONDS,
        SWEEP_INTERVAL_SECONDS: NEVER_SECONDS,
        ORPHAN_GRACE_SECONDS: '0',
        LIMIT_CHECK_SECONDS: '3600',
        STOP_GRACE_SECONDS: '1',
        ...environment,
      },
    });
    return new DoomedServer(survivors, survivors.docker, proxy);
  }

  /** A new user, as a client of the doomed process and of a survivor. */
  async user(tier?: string): Promise<{ doomed: ApiClient; survivor: ApiClient }> {
    this.doomed ??= await this.next;
    const [survivor] = await this.survivors.user(tier);
    return { survivor, doomed: new ApiClient(this.doomed.url, survivor.token) };
  }

  /** Arms the death at a call that changes something in Docker. @returns resolves when the process is dead */
  async dieAt(death: { fault: Fault; call: RegExp; nth?: number }): Promise<void> {
    await new Promise<void>((resolve) => {
      this.proxy.arm({ nth: 1, writesOnly: true, ...death, onKill: () => void this.die().then(resolve) });
    });
    this.proxy.arm(null);
  }

  /** Sends SIGKILL now. Another process replaces it for the next test. */
  async die(): Promise<void> {
    await this.doomed?.kill();
    this.doomed = null;
    this.next = this.another();
  }

  /** Whether the doomed process has a program's streams open. */
  get runsPrograms(): boolean {
    return this.proxy.programs > 0;
  }

  async stop(): Promise<void> {
    await (await this.next).stop();
    await this.doomed?.stop();
    await this.survivors.stop();
    await this.proxy.close();
  }

  private async another(): Promise<BerthProcess> {
    const { environment } = this.survivors;
    const busy = { LIMIT_CHECK_SECONDS: '1', DOCKER_HOST: this.proxy.dockerHost };
    const server = new BerthProcess({ ...environment, ...busy });
    await server.start();
    return server;
  }
}

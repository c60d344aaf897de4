import { ApiClient } from '../clients/api-client';
import { DockerProxy, type Fault } from '../faults/docker-proxy';
import { TcpProxy } from '../faults/tcp-proxy';
import { BerthProcess } from './berth-process';
import { Cluster } from './cluster';

/** The call by which Berth asks Docker to stop a container. */
export const STOP = /^POST .*\/containers\/:id\/stop$/;

/** Time after a death until it is noticed and the operation finished, on a slow machine with other work. */
export const TAKEN_UP_WITHIN_MS = 45_000;

/** Times longer than any test: neither an expired term nor a sweep may cause a takeover. */
export const PATIENT = {
  OPERATION_CLAIM_SECONDS: '600',
  SWEEP_INTERVAL_SECONDS: '600',
  ORPHAN_GRACE_SECONDS: '0',
  STOP_GRACE_SECONDS: '1',
};

interface PairOptions {
  readonly environment?: Readonly<Record<string, string>>;
  /** How many processes survive. */
  readonly survivors?: number;
}

/**
 * Processes of one Berth, one of which, the victim, can be killed at a call to Docker, and cut off from its database
 * and its Docker. Only the victim checks the ends of runs, so the survivors take over exactly what it began.
 */
export class VictimAndSurvivor {
  private ready = Promise.resolve();

  private constructor(
    /** The survivors. */
    readonly cluster: Cluster,
    readonly victim: BerthProcess,
    readonly docker: DockerProxy,
    readonly database: TcpProxy,
  ) {}

  /** @param subject the subject of the test file */
  static async start(subject: string, { environment, survivors = 1 }: PairOptions = {}): Promise<VictimAndSurvivor> {
    const docker = await DockerProxy.open();
    const settings = { ...PATIENT, LIMIT_CHECK_SECONDS: '3600', ...environment };
    const cluster = await Cluster.start(subject, { processes: survivors, environment: settings });
    const database = await TcpProxy.before(cluster.environment['DATABASE_URL'] ?? '');
    const own = { DATABASE_URL: database.url, DOCKER_HOST: docker.dockerHost, LIMIT_CHECK_SECONDS: '1' };
    const victim = new BerthProcess({ ...cluster.environment, ...own });
    await victim.start();
    return new VictimAndSurvivor(cluster, victim, docker, database);
  }

  /** The same new user as a client of the victim and of a survivor. */
  async user(tier?: string): Promise<{ victim: ApiClient; survivor: ApiClient }> {
    await this.ready;
    const [survivor] = await this.cluster.user(tier);
    return { survivor, victim: new ApiClient(this.victim.url, survivor.token) };
  }

  /** Arms the victim's death at a call that changes something in Docker. Resolves when it is dead. */
  async dieAt(death: { fault: Fault; call: RegExp; nth?: number }): Promise<void> {
    await new Promise<void>((resolve) => {
      this.docker.arm({ nth: 1, writesOnly: true, ...death, onKill: () => void this.die().then(resolve) });
    });
    this.docker.arm(null);
  }

  /** Sends SIGKILL now. The victim is started again for the next test. */
  async die(): Promise<void> {
    await this.victim.kill();
    this.ready = this.victim.start();
  }

  /** Whether the victim has a program's streams open. */
  get runsPrograms(): boolean {
    return this.docker.programs > 0;
  }

  /**
   * Withholds Docker's answer to the victim's next such call until `release`. Docker has done the work when `reached`
   * resolves.
   *
   * @param of text that the call's URL must have
   */
  hold(call: RegExp, of: string): { reached: Promise<void>; release: () => void } {
    let release = (): void => undefined;
    const until = new Promise<void>((resolve) => (release = resolve));
    const reached = new Promise<void>((resolve) => {
      this.docker.onCall = (made, url) => {
        if (!call.test(made) || !url.includes(of)) return null;
        this.docker.onCall = () => null;
        resolve();
        return { fault: 'delay', until };
      };
    });
    return { reached, release };
  }

  /**
   * Resolves when the victim has made all of these calls, which get no answer. A stop is passed on to Docker, a
   * removal is not.
   */
  async untilHeld(calls: readonly { call: RegExp; of: string }[]): Promise<void> {
    const left = [...calls];
    await new Promise<void>((resolve) => {
      this.docker.onCall = (made, url) => {
        const index = left.findIndex(({ call, of }) => call.test(made) && url.includes(of));
        if (index < 0) return null;
        const [held] = left.splice(index, 1);
        if (left.length === 0) resolve();
        return { fault: held?.call === STOP ? 'hang' : 'kill_before' };
      };
    });
  }

  /** The victim's calls since the last `arm` that change something in Docker. */
  get writes(): string[] {
    return this.docker.calls.filter((call) => !/^(GET|HEAD) /.test(call));
  }

  async stop(): Promise<void> {
    await this.ready;
    this.victim.resume();
    await this.victim.kill();
    await this.cluster.stop();
    await this.docker.close();
    await this.database.down();
  }
}

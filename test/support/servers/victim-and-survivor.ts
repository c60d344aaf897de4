import { ApiClient } from '../clients/api-client';
import { BerthProcess } from './berth-process';
import { Cluster } from './cluster';
import { DockerProxy } from '../faults/docker-proxy';
import { TcpProxy } from '../faults/tcp-proxy';

/** The call by which Berth asks Docker to stop a container. */
export const STOP = /^POST .*\/containers\/:id\/stop$/;

/** Two processes of one Berth, one of which can be cut off from its database and its Docker. */
export class VictimAndSurvivor {
  private constructor(
    readonly cluster: Cluster,
    readonly victim: BerthProcess,
    readonly docker: DockerProxy,
    readonly database: TcpProxy,
  ) {}

  static async start(environment: Readonly<Record<string, string>>): Promise<VictimAndSurvivor> {
    const docker = await DockerProxy.open();
    const cluster = await Cluster.start('takeover', { processes: 1, environment });
    const url = new URL(cluster.environment['DATABASE_URL'] ?? '');
    const database = new TcpProxy({ host: url.hostname, port: Number(url.port) });
    await database.up();
    url.host = `127.0.0.1:${String(database.port)}`;
    const own = { DATABASE_URL: url.href, DOCKER_HOST: docker.dockerHost };
    const victim = new BerthProcess({ ...cluster.environment, ...own });
    await victim.start();
    return new VictimAndSurvivor(cluster, victim, docker, database);
  }

  /** The same new user as a client of both. */
  async user(): Promise<{ victim: ApiClient; survivor: ApiClient }> {
    const [survivor] = await this.cluster.user();
    return { survivor, victim: new ApiClient(this.victim.url, survivor.token) };
  }

  /**
   * Withholds Docker's answer to the victim's next such call until `release`. Docker has done the work when `reached`
   * resolves.
   */
  hold(call: RegExp): { reached: Promise<void>; release: () => void } {
    let release = (): void => undefined;
    const until = new Promise<void>((resolve) => (release = resolve));
    const reached = new Promise<void>((resolve) => {
      this.docker.onCall = (made) => {
        if (!call.test(made)) return null;
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
      this.docker.onCall = (made, path) => {
        const index = left.findIndex(({ call, of }) => call.test(made) && path.includes(of));
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
    this.victim.resume();
    await this.victim.kill();
    await this.cluster.stop();
    await this.docker.close();
    await this.database.down();
  }
}

import type Docker from 'dockerode';
import type { IncomingMessage } from 'node:http';
import { type Config, ConfigError } from '../../config';
import type { EndedCall, EngineCalls } from '../../engine';
import { boundedCall, callVolumes, type ClientCertificate, connectDocker, type DockerClients } from './client';
import { type DockerCall, toEngineError } from './errors';
import { DockerMachine } from './machine';
import { againIfStale } from './stale-connections';

/** One Docker daemon: its clients, its machine, and the methods that every call to it goes through. */
export class DockerDaemon {
  readonly clients: DockerClients;
  readonly machine: DockerMachine;
  /** Time limit of a call that the daemon answers at once. */
  readonly timeoutMs: number;
  /** When a call last succeeded, by `performance.now()`. */
  answeredAt = -Infinity;
  /** Node label for call metrics; empty on a single machine. */
  private readonly of: Pick<EndedCall, 'node'>;

  constructor(
    settings: Pick<Config, 'DOCKER_HOST' | 'DOCKER_TIMEOUT_SECONDS'>,
    readonly calls: EngineCalls,
    { tls, node }: { tls?: ClientCertificate | undefined; node?: string | undefined } = {},
  ) {
    this.of = node === undefined ? {} : { node };
    this.timeoutMs = settings.DOCKER_TIMEOUT_SECONDS * 1000;
    this.clients = connectDocker(settings.DOCKER_HOST, {
      timeoutMs: this.timeoutMs,
      tls,
      isSwarmNode: node !== undefined,
    });
    this.machine = new DockerMachine(settings.DOCKER_HOST);
  }

  /**
   * Runs a call to Docker: limits its time, repeats it once if its connection was stale, and translates its errors
   * into the port's.
   *
   * @throws EngineError
   */
  async call<T>(
    what: DockerCall,
    run: (signal: AbortSignal, docker: Docker) => Promise<T>,
    timeoutMs = this.timeoutMs,
  ): Promise<T> {
    return this.translateErrors(what, () =>
      boundedCall(timeoutMs, (signal) => againIfStale(signal, () => run(signal, this.clients.calls))),
    );
  }

  /** Like {@link call}, for calls about volumes. @throws EngineError */
  async callVolumes<T>(run: (signal: AbortSignal, docker: Docker) => Promise<T>): Promise<T> {
    return this.call('volume', (signal) => callVolumes(this.clients.volumes, (docker) => run(signal, docker)));
  }

  /**
   * Runs work that has its own time limit: translates its errors into the port's, and reports its end to the
   * listeners.
   *
   * @throws EngineError, ConfigError
   */
  async translateErrors<T>(what: DockerCall, run: () => Promise<T>): Promise<T> {
    const before = performance.now();
    const ended = (outcome: EndedCall['outcome']): void =>
      this.calls.ended({ call: what, outcome, seconds: (performance.now() - before) / 1000, ...this.of });
    try {
      const result = await run();
      this.answeredAt = performance.now();
      ended('ok');
      return result;
    } catch (error) {
      if (error instanceof ConfigError) throw error;
      const fault = toEngineError(error, what);
      ended(fault.code);
      throw fault;
    }
  }

  async ping(): Promise<void> {
    await this.call('ping', (_signal, docker) => docker.ping());
  }

  /** Pings on the unbounded client, so it never waits for a socket. @returns the time by the daemon's clock */
  async look(timeoutMs: number): Promise<Date> {
    return this.call('ping', (signal) => readClock(this.clients.streams, signal), timeoutMs);
  }

  async info(): Promise<unknown> {
    const info: unknown = await this.call('probe', (_signal, docker) => docker.info());
    this.machine.note(info);
    return info;
  }

  /** @returns the id of the daemon's store; null if it has none */
  async identify(): Promise<string | null> {
    const info = await this.info();
    // Docker stores the id in its data-root (`engine-id`), so a daemon with an empty data-root has another id.
    const id = (info as { ID?: unknown } | null)?.ID;
    return typeof id === 'string' && id !== '' ? id : null;
  }

  /**
   * @returns the daemon's node id in its Swarm; null if it is in none
   * @throws EngineError
   */
  async swarmNodeId(): Promise<string | null> {
    const { Swarm } = (await this.info()) as { Swarm?: { NodeID?: unknown } };
    const id = Swarm?.NodeID;
    return typeof id === 'string' && id !== '' ? id : null;
  }

  /** @returns seconds of the daemon's clock, which may differ from this host's */
  async seconds(): Promise<number> {
    // Not by `GET /info`: a Swarm manager that has lost the other managers answers it after 20 s.
    return Math.floor((await this.look(this.timeoutMs)).getTime() / 1000);
  }

  /** Drops every connection. */
  close(): void {
    this.clients.close();
  }
}

/** Reads the `Date` header of `/_ping`, which Docker answers at once; this host's time if the header is missing. */
async function readClock(docker: Docker, signal: AbortSignal): Promise<Date> {
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const ping = { path: '/_ping', method: 'GET', isStream: true, statusCodes: { 200: true }, abortSignal: signal };
    docker.modem.dial(ping, (error: Error | null, response: unknown) => {
      if (error) reject(error);
      else resolve(response as IncomingMessage);
    });
  });
  answer.resume();
  const time = Date.parse(answer.headers.date ?? '');
  return new Date(Number.isNaN(time) ? Date.now() : time);
}

import type Docker from 'dockerode';
import { type Config, ConfigError } from '../config';
import { boundedCall, type ClientCertificate, connectDocker, type DockerClients } from './client';
import type { EngineErrorCode } from './engine-error';
import { type DockerCall, toEngineError } from './errors';
import { DockerMachine } from './machine';
import { againIfStale } from './stale-connections';

/** One Docker daemon: its clients, the path of every call to it, and what it says of itself. */
export class DockerDaemon {
  readonly clients: DockerClients;
  readonly machine: DockerMachine;
  /** For a call that the daemon answers at once. */
  readonly timeoutMs: number;

  constructor(
    settings: Pick<Config, 'DOCKER_HOST' | 'DOCKER_TIMEOUT_SECONDS'>,
    private readonly calls: EngineCalls,
    tls?: ClientCertificate,
  ) {
    this.timeoutMs = settings.DOCKER_TIMEOUT_SECONDS * 1000;
    this.clients = connectDocker(settings.DOCKER_HOST, { timeoutMs: this.timeoutMs, tls });
    this.machine = new DockerMachine(settings.DOCKER_HOST);
  }

  /**
   * The path of every call: bounded in time, with errors in the port's terms.
   *
   * @throws EngineError
   */
  async call<T>(
    what: DockerCall,
    run: (signal: AbortSignal, docker: Docker) => Promise<T>,
    timeoutMs = this.timeoutMs,
  ): Promise<T> {
    return this.inWords(what, () =>
      boundedCall(timeoutMs, (signal) => againIfStale(signal, () => run(signal, this.clients.calls))),
    );
  }

  /** For calls that have their own time limit. @throws EngineError, ConfigError */
  async inWords<T>(what: DockerCall, run: () => Promise<T>): Promise<T> {
    const before = performance.now();
    const ended = (outcome: EndedCall['outcome']): void =>
      this.calls.ended({ call: what, outcome, seconds: (performance.now() - before) / 1000 });
    try {
      const result = await run();
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

  async info(): Promise<unknown> {
    const info: unknown = await this.call('probe', (_signal, docker) => docker.info());
    this.machine.note(info);
    return info;
  }

  /** @returns the id of its store; null if it has none */
  async identify(): Promise<string | null> {
    const info = await this.info();
    // Stored in its data-root (`engine-id`), so a daemon with an empty one has another id.
    const id = (info as { ID?: unknown } | null)?.ID;
    return typeof id === 'string' && id !== '' ? id : null;
  }

  /** @returns the time by Docker's own clock, which may differ from this host's */
  async seconds(): Promise<number> {
    const info = await this.info();
    const time = Date.parse(String((info as { SystemTime?: unknown }).SystemTime));
    return Math.floor((Number.isNaN(time) ? Date.now() : time) / 1000);
  }

  /** Drops every connection. */
  close(): void {
    this.clients.close();
  }
}

/** A completed engine call. */
export interface EndedCall {
  /** Such as `create container`. */
  readonly call: string;
  readonly outcome: 'ok' | EngineErrorCode;
  readonly seconds: number;
}

/** Notifies listeners of every engine call, so that the engine does not depend on the metrics. */
export class EngineCalls {
  private readonly listeners: ((ended: EndedCall) => void)[] = [];

  /** Calls `listener` at the end of each call. It must not throw. */
  onEnded(listener: (ended: EndedCall) => void): void {
    this.listeners.push(listener);
  }

  ended(call: EndedCall): void {
    for (const listener of this.listeners) listener(call);
  }
}

import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import type { Duplex } from 'node:stream';
import type { ServerChannel, TcpipRequestInfo } from 'ssh2';
import { ContainersService, isUp } from '../containers';
import { ContainerEngine, EngineError, saysNotRunning, saysPaused } from '../docker';
import { DomainError, isPausedMeanwhile, pausedMeanwhile } from '../errors';
import { LOGGER, type Logger } from '../logging';
import { Poll, Throttle } from '../scheduling';
import { Signals } from '../signals';
import { ChannelOutput, type SshVisit, SshWork } from './ssh-visit';

/** The names of a sandbox's own interfaces. */
const OWN_HOSTS: readonly string[] = ['localhost', '127.0.0.1', '::1'];

/** Traffic counts as use of the container. It is noted at most this often, a third of the shortest idle limit. */
const USE_NOTED_EVERY_MS = 20_000;

/** Finds the ends of containers that no signal has told. */
const RECHECK_MS = 5_000;

/** The part of a container's row that shows its run. */
type ContainerRun = Pick<Awaited<ReturnType<ContainersService['find']>>, 'status' | 'dockerId' | 'runSince'>;

interface OpenForward {
  readonly visit: SshVisit;
  readonly containerId: string;
  /** See {@link runOf}. */
  readonly run: string | null;
  end(): void;
}

/** Connections that clients forward to ports of their container (`direct-tcpip`), and to nothing else. */
@Injectable()
export class SshForwards implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly open = new Set<OpenForward>();
  private readonly poll: Poll;
  private readonly stopListening: () => void;

  constructor(
    private readonly work: SshWork,
    private readonly containers: ContainersService,
    private readonly engine: ContainerEngine,
    signals: Signals,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.stopListening = signals.on('user_events', ({ userId }) => {
      const concerned = [...this.open].filter(({ visit }) => visit.principal.userId === userId);
      if (concerned.length > 0) this.recheck(concerned).catch((error: unknown) => this.noteFault(error));
    });
    this.poll = new Poll({
      everyMs: RECHECK_MS,
      work: () => this.recheck([...this.open]),
      onFault: (error) => this.noteFault(error),
    });
  }

  onApplicationBootstrap(): void {
    this.poll.start();
  }

  onModuleDestroy(): void {
    this.poll.stop();
    this.stopListening();
    for (const forward of [...this.open]) forward.end();
  }

  /**
   * Serves a connection that the client asks for. Never throws.
   *
   * @param onEnd called once when it is over
   */
  async serve(
    { accept, reject }: { accept: () => ServerChannel; reject: () => void },
    { destIP: host, destPort: port }: TcpipRequestInfo,
    { visit, onEnd }: { visit: SshVisit; onEnd: () => void },
  ): Promise<void> {
    let connection: Duplex | undefined;
    let leave = (): void => undefined;
    try {
      const found = await this.work.during(visit, { action: 'container.forward', kind: 'forward' }, async (id) => {
        if (!isOwnHost(host, [visit.container, id])) throw new DomainError('not_authorized');
        if (port < 1 || port > 65_535) throw new DomainError('port_closed');
        const target = await this.connect(visit, id, port);
        connection = target.on('error', () => undefined);
        return { target, containerId: id, run: runOf(await this.containers.find(visit.principal, id)) };
      });
      const { target, containerId, run } = found;
      if (visit.over.aborted) {
        reject();
        return;
      }
      const channel = accept();
      const end = (): void => {
        target.destroy();
        channel.end();
      };
      const entry: OpenForward = { visit, containerId, run, end };
      this.open.add(entry);
      visit.over.addEventListener('abort', end, { once: true });
      leave = () => {
        this.open.delete(entry);
        visit.over.removeEventListener('abort', end);
      };
      await this.pass({ channel, connection: target, visit, containerId });
    } catch (error) {
      if (!(error instanceof DomainError)) this.noteFault(error);
      reject();
    } finally {
      connection?.destroy();
      leave();
      onEnd();
    }
  }

  /** Passes bytes both ways, until one side has closed. */
  private async pass({
    channel,
    connection,
    visit,
    containerId,
  }: {
    channel: ServerChannel;
    connection: Duplex;
    visit: SshVisit;
    containerId: string;
  }): Promise<void> {
    const uses = new Throttle(USE_NOTED_EVERY_MS);
    const noteUse = (): void => {
      if (uses.passes()) this.containers.touch(visit.principal, containerId).catch(() => undefined);
    };
    const closed = new AbortController();
    const output = new ChannelOutput(channel, visit.socket, AbortSignal.any([closed.signal, visit.over]));
    channel.on('error', () => undefined);
    channel.on('close', () => {
      closed.abort();
      connection.destroy();
    });
    channel.on('data', noteUse).pipe(connection);
    try {
      for await (const data of connection) {
        noteUse();
        await output.write('stdout', data as Buffer);
      }
    } catch {
      // The connection broke, which its client sees as its end.
    }
    channel.end();
  }

  /** A snapshot, or an idle limit, may suspend the container just before the connection is made. */
  private async connect(visit: SshVisit, id: string, port: number): Promise<Duplex> {
    try {
      return await this.dial(visit, id, port);
    } catch (error) {
      if (!isPausedMeanwhile(error)) throw error;
      return this.dial(visit, id, port);
    }
  }

  private async dial({ principal }: SshVisit, id: string, port: number): Promise<Duplex> {
    await this.containers.resumed(principal, id);
    const { dockerId, status } = await this.containers.enter(principal, id);
    if (dockerId === null || !isUp(status)) throw new DomainError('container_not_running');
    try {
      return await this.engine.ports.connect(dockerId, port);
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      if (saysPaused(error)) throw pausedMeanwhile(error);
      if (saysNotRunning(error)) throw new DomainError('container_not_running', { cause: error });
      if (error.code === 'tools_missing') throw new DomainError(error.code, { cause: error });
      throw new DomainError('port_closed', { cause: error });
    }
  }

  /** Ends the connections to containers that have stopped, or were replaced: their addresses may be another's. */
  private async recheck(forwards: readonly OpenForward[]): Promise<void> {
    const runs = new Map<string, Promise<string | null>>();
    const runOfContainer = ({ visit, containerId }: OpenForward): Promise<string | null> =>
      this.containers.find(visit.principal, containerId).then(runOf, (error: unknown) => {
        if (error instanceof DomainError && !error.isServerFault) return null;
        throw error;
      });
    for (const forward of forwards) {
      const run = runs.get(forward.containerId) ?? runOfContainer(forward);
      runs.set(forward.containerId, run);
      if ((await run) !== forward.run) forward.end();
    }
  }

  private noteFault(error: unknown): void {
    this.logger.warn({ err: error }, 'a forwarded connection could not be served, or checked');
  }
}

/** @returns what changes when the container is started again, or replaced; null if it does not run */
function runOf({ status, dockerId, runSince }: ContainerRun): string | null {
  return isUp(status) && dockerId !== null ? `${dockerId} ${String(runSince?.getTime())}` : null;
}

/** Whether the host is the container itself: by its loopback interface's names, or by its own. */
function isOwnHost(host: string, names: readonly string[]): boolean {
  const asked = host.toLowerCase().replace(/^\[(.*)\]$/, '$1');
  return OWN_HOSTS.includes(asked) || names.some((name) => name.toLowerCase() === asked);
}

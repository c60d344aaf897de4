import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import type { Duplex } from 'node:stream';
import type { ServerChannel, TcpipRequestInfo } from 'ssh2';
import { type ConnectionGroup, type OpenConnection, OpenConnections } from '../auth';
import { ContainersService, isUp } from '../containers';
import { ContainerEngine } from '../engine';
import { DomainError } from '../errors';
import { LOGGER, type Logger } from '../logging';
import { portFault } from '../sandbox';
import { Throttle } from '../scheduling';
import { ChannelOutput, type SshConnection, SshWork } from './ssh-work';

/** The names of a sandbox's own interfaces. */
const OWN_HOSTS: readonly string[] = ['localhost', '127.0.0.1', '::1'];

/** Traffic counts as use of the container. It is noted at most this often, a third of the shortest idle limit. */
const USE_NOTED_EVERY_MS = 20_000;

/** Finds the ends of containers that no signal has told. */
const RECHECK_MS = 5_000;

/** The part of a container's row that shows its run. */
type ContainerRun = Pick<Awaited<ReturnType<ContainersService['find']>>, 'status' | 'engineId' | 'runSince'>;

interface OpenForward extends OpenConnection {
  readonly client: SshConnection;
  readonly containerId: string;
  /** See {@link runOf}. */
  readonly run: string | null;
}

/** Connections that clients forward to ports of their container (`direct-tcpip`), and to nothing else. */
@Injectable()
export class SshForwards implements OnModuleDestroy {
  private readonly open: ConnectionGroup<OpenForward>;

  constructor(
    private readonly work: SshWork,
    private readonly containers: ContainersService,
    private readonly engine: ContainerEngine,
    connections: OpenConnections,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.open = connections.group({
      everyMs: RECHECK_MS,
      round: () => this.checkOfRuns(),
      signals: {
        user_events: ({ client }, { userId }) => client.principal.userId === userId,
      },
      onFault: (error) => this.noteFault(error),
    });
  }

  onModuleDestroy(): void {
    this.open.close();
  }

  /**
   * Serves a connection that the client asks for. Never throws.
   *
   * @param onEnd called once when it is over
   */
  async serve(
    { accept, reject }: { accept: () => ServerChannel; reject: () => void },
    { destIP: host, destPort: port }: TcpipRequestInfo,
    { client, onEnd }: { client: SshConnection; onEnd: () => void },
  ): Promise<void> {
    let connection: Duplex | undefined;
    let leave = (): void => undefined;
    try {
      const found = await this.work.during(client, { action: 'container.forward', kind: 'forward' }, async (id) => {
        if (!isOwnHost(host, [client.container, id])) throw new DomainError('not_authorized');
        if (port < 1 || port > 65_535) throw new DomainError('port_closed');
        const target = await this.connect(client, id, port);
        connection = target.on('error', () => undefined);
        return { target, containerId: id, run: runOf(await this.containers.find(client.principal, id)) };
      });
      const { target, containerId, run } = found;
      if (client.over.aborted) {
        reject();
        return;
      }
      const channel = accept();
      const end = (): void => {
        target.destroy();
        channel.end();
      };
      const forget = this.open.add({ client, containerId, run, end });
      const leaveBounds = client.bounds.addChannel(channel);
      client.over.addEventListener('abort', end, { once: true });
      leave = () => {
        forget();
        leaveBounds();
        client.over.removeEventListener('abort', end);
      };
      await this.pass({ channel, connection: target, client, containerId });
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
    client,
    containerId,
  }: {
    channel: ServerChannel;
    connection: Duplex;
    client: SshConnection;
    containerId: string;
  }): Promise<void> {
    const uses = new Throttle(USE_NOTED_EVERY_MS);
    const noteUse = (): void => {
      if (uses.passes()) this.containers.touch(client.principal, containerId).catch(() => undefined);
    };
    const closed = new AbortController();
    const output = new ChannelOutput(channel, client.bounds, AbortSignal.any([closed.signal, client.over]));
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

  private async connect({ principal }: SshConnection, id: string, port: number): Promise<Duplex> {
    try {
      return await this.containers.inside(principal, id, ({ engineId }) => this.engine.ports.connect(engineId, port));
    } catch (error) {
      throw portFault(error);
    }
  }

  /** Ends the connections to containers that have stopped, or were replaced: their addresses may be another's. */
  private checkOfRuns(): (forward: OpenForward) => Promise<boolean> {
    const runs = new Map<string, Promise<string | null>>();
    const runOfContainer = ({ client, containerId }: OpenForward): Promise<string | null> =>
      this.containers.find(client.principal, containerId).then(runOf, (error: unknown) => {
        if (error instanceof DomainError && !error.isServerFault) return null;
        throw error;
      });
    return async (forward) => {
      const run = runs.get(forward.containerId) ?? runOfContainer(forward);
      runs.set(forward.containerId, run);
      return (await run) === forward.run;
    };
  }

  private noteFault(error: unknown): void {
    this.logger.warn({ err: error }, 'a forwarded connection could not be served, or checked');
  }
}

/** @returns what changes when the container is started again, or replaced; null if it does not run */
function runOf({ status, engineId, runSince }: ContainerRun): string | null {
  return isUp(status) && engineId !== null ? `${engineId} ${String(runSince?.getTime())}` : null;
}

/** Whether the host is the container itself: by its loopback interface's names, or by its own. */
function isOwnHost(host: string, names: readonly string[]): boolean {
  const asked = host.toLowerCase().replace(/^\[(.*)\]$/, '$1');
  return OWN_HOSTS.includes(asked) || names.some((name) => name.toLowerCase() === asked);
}

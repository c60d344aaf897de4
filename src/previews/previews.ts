import { Injectable } from '@nestjs/common';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { ContainersService } from '../containers';
import { ContainerEngine, EngineError, saysNotRunning, saysPaused } from '../docker';
import { DomainError, isPausedMeanwhile, pausedMeanwhile } from '../errors';
import { LruMap } from '../scheduling';
import { type Admission, type Credentials, credentialsOf, PreviewAccess } from './preview-access';
import type { PreviewTarget } from './preview-address';
import { type OpenPreview, PreviewConnections } from './preview-connections';
import { PreviewMetrics } from './preview-metrics';
import { type Exchange, forward, forwardUpgrade } from './preview-proxy';

/** Traffic counts as use of the container. It is looked at at most this often, a third of the shortest idle limit. */
const USE_NOTED_EVERY_MS = 20_000;
/** Containers whose last use is remembered; a forgotten one costs a query. */
const MOST_USES = 10_000;

/** How soon a client may ask again for a container that starts. */
const STARTING_RETRY_SECONDS = 2;

/** Operations at whose end the container may run. */
const STARTING = ['create', 'start', 'update', 'move', 'resume'];

/** A visitor's request, before it is admitted. */
interface Visit {
  readonly target: PreviewTarget;
  /** The public origin of the preview. */
  readonly origin: string;
  readonly clientAddress: string;
}

/** Serves the visitors of ports: admits them, resumes the container, connects, and passes bytes both ways. */
@Injectable()
export class Previews {
  private readonly uses = new LruMap<{ readonly at: number }>(MOST_USES);

  constructor(
    private readonly access: PreviewAccess,
    private readonly connections: PreviewConnections,
    private readonly containers: ContainersService,
    private readonly engine: ContainerEngine,
    private readonly metrics: PreviewMetrics,
  ) {}

  /**
   * @throws DomainError as {@link PreviewAccess.admit}; `container_not_running`, `container_starting`, `port_closed`,
   *   `tools_missing`, `application_failed`, `too_many_connections`, as {@link ContainersService.resumed}
   */
  async serve(request: IncomingMessage, response: ServerResponse, visit: Visit): Promise<void> {
    const end = (): void => void request.socket.destroy();
    await this.during(request, { visit, end, kind: 'request' }, (exchange) => forward(request, response, exchange));
  }

  /** Serves a WebSocket. @throws DomainError as {@link serve} */
  async serveUpgrade(
    request: IncomingMessage,
    client: { readonly socket: Socket; readonly head: Buffer },
    visit: Visit,
  ): Promise<void> {
    const end = (): void => void client.socket.destroy();
    await this.during(request, { visit, end, kind: 'websocket' }, (exchange) =>
      forwardUpgrade(request, client, exchange),
    );
  }

  private async during(
    request: IncomingMessage,
    { visit, end, kind }: { visit: Visit; end: () => void; kind: 'request' | 'websocket' },
    work: (exchange: Exchange) => Promise<void>,
  ): Promise<void> {
    const { target, origin, clientAddress } = visit;
    const credentials = credentialsOf(request, origin);
    const admission = await this.admit(target, credentials);
    let connection: Duplex | undefined;
    const preview: OpenPreview = {
      admission,
      recheck: () => this.access.admit(target, credentials),
      end: () => {
        end();
        connection?.destroy();
      },
    };
    const leave = this.connections.enter(preview);
    const ended = this.metrics.begin(kind);
    try {
      connection = await this.connect(admission);
      // Without a listener, an error before the exchange begins would end this process.
      connection.on('error', () => undefined);
      const onBytes = (bytes: number): void => {
        this.metrics.count(bytes);
        this.noteUse(admission);
      };
      await work({ connection, port: target.port, clientAddress, origin, onBytes });
      ended('ok');
    } catch (error) {
      ended(error instanceof DomainError ? error.code : 'internal_error');
      throw error;
    } finally {
      connection?.destroy();
      leave();
    }
  }

  /** Admits a visitor to a container that runs; a paused one is resumed. @throws DomainError as {@link serve} */
  private async admit(target: PreviewTarget, credentials: Credentials): Promise<Admission> {
    const admission = await this.access.admit(target, credentials);
    const { owner, status, operation, containerId } = admission;
    if (status === 'running' && admission.dockerId !== null) {
      this.noteUse(admission);
      return admission;
    }
    if (status === 'paused') {
      await this.containers.resumed(owner, containerId);
      return this.access.admit(target, credentials);
    }
    const isStarting = status === 'creating' || (operation !== null && STARTING.includes(operation));
    if (isStarting) throw new DomainError('container_starting', { retryAfter: STARTING_RETRY_SECONDS });
    throw new DomainError('container_not_running');
  }

  /** A snapshot, or an idle limit, may suspend the container just before the connection is made. */
  private async connect(admission: Admission): Promise<Duplex> {
    try {
      return await this.dial(admission);
    } catch (error) {
      if (!isPausedMeanwhile(error)) throw error;
      await this.containers.resumed(admission.owner, admission.containerId);
      return this.dial(admission);
    }
  }

  private async dial({ dockerId, port }: Admission): Promise<Duplex> {
    if (dockerId === null) throw new DomainError('container_not_running');
    try {
      return await this.engine.ports.connect(dockerId, port);
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      if (saysPaused(error)) throw pausedMeanwhile(error);
      if (saysNotRunning(error)) throw new DomainError('container_not_running', { cause: error });
      if (error.code === 'port_closed' || error.code === 'tools_missing') {
        throw new DomainError(error.code, { cause: error });
      }
      throw new DomainError('application_failed', { code: error.code, cause: error });
    }
  }

  /** In the background: nothing waits for it, and the next use notes what this one could not. */
  private noteUse({ containerId, owner }: Admission): void {
    const at = performance.now();
    const last = this.uses.get(containerId);
    if (last && at - last.at < USE_NOTED_EVERY_MS) return;
    this.uses.set(containerId, { at });
    this.containers.touch(owner, containerId).catch(() => this.uses.delete(containerId));
  }
}

import { Injectable } from '@nestjs/common';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { DomainError } from '../errors';
import { addressKey } from '../http';
import { RefusedTokens } from '../rate-limits';
import { type Admission, type Credentials, credentialsOf, PreviewAccess } from './preview-access';
import type { PreviewTarget } from './preview-address';
import type { KnownVisit } from './preview-server';
import { PreviewConnections } from './preview-connections';
import { PreviewTraffic } from './preview-traffic';
import { type Exchange, forward, forwardUpgrade } from './preview-proxy';
import { PreviewUpstream } from './preview-upstream';

/** A visitor's request, before it is admitted. */
interface Visit {
  readonly target: PreviewTarget;
  /** The public origin of the preview. */
  readonly origin: string;
  readonly clientAddress: string;
  /** What an extension knows of the visit. */
  readonly known?: KnownVisit | undefined;
}

/** Serves the visitors of ports: admits them, wakes the container, connects, and passes bytes both ways. */
@Injectable()
export class Previews {
  constructor(
    private readonly access: PreviewAccess,
    private readonly refused: RefusedTokens,
    private readonly connections: PreviewConnections,
    private readonly upstream: PreviewUpstream,
    private readonly traffic: PreviewTraffic,
  ) {}

  /**
   * @throws DomainError as {@link PreviewAccess.admit}, {@link PreviewUpstream.wake} and
   *   {@link PreviewUpstream.connect}; `rate_limit_exceeded`, `too_many_connections`, `application_failed`
   */
  async serve(request: IncomingMessage, response: ServerResponse, visit: Visit): Promise<void> {
    await this.during(request, { visit, kind: 'request' }, (exchange) => forward(request, response, exchange));
  }

  /** Serves a WebSocket. @throws DomainError as {@link serve} */
  async serveUpgrade(
    request: IncomingMessage,
    client: { readonly socket: Socket; readonly head: Buffer },
    visit: Visit,
  ): Promise<void> {
    await this.during(request, { visit, kind: 'websocket' }, (exchange) => forwardUpgrade(request, client, exchange));
  }

  /**
   * Starts the container for a visitor who may do that.
   *
   * @throws DomainError as {@link PreviewAccess.admit} and {@link PreviewUpstream.start}; `not_authorized`,
   *   `rate_limit_exceeded`
   */
  async start(request: IncomingMessage, visit: Visit): Promise<void> {
    const admission = await this.admit(visit, credentialsOf(request, visit.origin));
    if (!admission.mayStart) throw new DomainError('not_authorized');
    await this.upstream.start(admission);
  }

  private async during(
    request: IncomingMessage,
    { visit, kind }: { visit: Visit; kind: 'request' | 'websocket' },
    work: (exchange: Exchange) => Promise<void>,
  ): Promise<void> {
    const { target, origin, clientAddress, known } = visit;
    const { socket } = request;
    const { principal = null, isPublic = false, host = null } = known ?? {};
    const own = principal ? { token: null, cookie: null, principal } : credentialsOf(request, origin);
    const credentials = { ...own, isPublic };
    const asked = await this.admit(visit, credentials);
    const leave = this.connections.enter(asked.owner);
    const ended = this.traffic.begin(kind);
    let connection: Duplex | undefined;
    let forget = (): void => undefined;
    try {
      const recheck = (): Promise<Admission> => this.access.admit(target, credentials);
      const admission = (await this.upstream.wake(asked)) ? await recheck() : asked;
      this.upstream.noteUse(admission);
      const end = (): void => {
        socket.destroy();
        connection?.destroy();
      };
      forget = this.connections.watch({ admission, recheck, end });
      connection = await this.upstream.connect(admission, () => socket.destroyed);
      // Without a listener, an error before the exchange begins would end this process.
      connection.on('error', () => undefined);
      // The visitor has gone meanwhile, or may not see the port any more: the application is asked nothing.
      if (socket.destroyed) {
        ended('aborted');
        return;
      }
      const onBytes = (bytes: number): void => {
        this.traffic.count(admission.owner.userId, bytes);
        this.upstream.noteUse(admission);
      };
      const bucket = this.connections.bucketOf(admission.owner);
      await work({ connection, port: target.port, host, clientAddress, origin, bucket, onBytes });
      ended('ok');
    } catch (error) {
      if (socket.destroyed) ended('aborted');
      else ended(error instanceof DomainError ? error.code : 'internal_error');
      throw error;
    } finally {
      connection?.destroy();
      forget();
      leave();
    }
  }

  /** @throws DomainError as {@link PreviewAccess.admit}; `rate_limit_exceeded` after too many refusals */
  private admit({ target, clientAddress }: Visit, credentials: Credentials): Promise<Admission> {
    const credential = credentials.token ?? credentials.cookie;
    const admit = (): Promise<Admission> => this.access.admit(target, credentials);
    if (credentials.principal) return admit();
    const proves = ({ by }: Admission): boolean => by !== 'public';
    return this.refused.guard(admit, { address: addressKey(clientAddress), credential, proves });
  }
}

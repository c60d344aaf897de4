import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { once } from 'node:events';
import type { Principal } from '../auth';
import { CONFIG, type Config } from '../config';
import { DomainError, invalidParameters } from '../errors';
import {
  addressKey,
  answerClientError,
  ClientAddress,
  headFault,
  HEAD_MS,
  type HttpListener,
  Listeners,
} from '../http';
import { LOGGER, type Logger } from '../logging';
import { RefusedTokens } from '../rate-limits';
import { within } from '../scheduling';
import { originOf, type PreviewTarget, targetOf } from './preview-address';
import { COOKIE } from './preview-headers';
import { PreviewLinks } from './preview-links';
import {
  answerFault,
  answerJson,
  answerOpenPage,
  OPEN_PATH,
  OWN_PATHS,
  SESSION_PATH,
  START_PATH,
  wantsPage,
} from './preview-pages';
import { IDLE_MS } from './preview-proxy';
import { Previews } from './previews';

/** Between requests on one connection of a client. */
const KEEP_ALIVE_MS = 5_000;
const MOST_SESSION_BODY = 1024;

/** A request whose `Host` names a preview. */
interface PreviewRequest {
  readonly target: PreviewTarget;
  readonly origin: string;
  readonly clientAddress: string;
}

/** What a module that stands above previews adds to them. */
export interface PreviewExtension {
  /** A port that it answers itself, in all containers, in place of an application. */
  readonly port: number;
  serve(request: IncomingMessage, response: ServerResponse, target: PreviewTarget): Promise<void>;
  /**
   * What it knows of a visit.
   *
   * @throws DomainError if a proof of the visitor is wrong
   */
  visitOf(request: IncomingMessage, visit: Pick<PreviewRequest, 'target' | 'clientAddress'>): Promise<KnownVisit>;
  /** Its own answer to a program that is refused; null: the usual. */
  refusalOf(error: unknown, target: PreviewTarget): Promise<{ readonly status: number; readonly body: object } | null>;
}

/** What a {@link PreviewExtension} knows of a visit. */
export interface KnownVisit {
  /** Who visits the port, by a proof that previews do not know; null without one. */
  readonly principal: Principal | null;
  /** Whether everybody may see all ports of the container, if its owner's tier has public ports. */
  readonly isPublic: boolean;
  /** The `Host` that the application gets; null: the usual. */
  readonly host: string | null;
}

/** The listener of previews: a server of its own, with other names than the API's. */
@Injectable()
export class PreviewServer implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly server: HttpListener;
  private extension: PreviewExtension | null = null;

  constructor(
    @Inject(CONFIG)
    private readonly config: Pick<Config, 'HOST' | 'PREVIEW_PORT' | 'PREVIEW_DOMAIN'>,
    private readonly previews: Previews,
    private readonly links: PreviewLinks,
    private readonly refused: RefusedTokens,
    private readonly clients: ClientAddress,
    private readonly listeners: Listeners,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    // A body may take as long as bytes flow, and so may a client that pauses a download.
    const bounds = { requestMs: 0, keepAliveMs: KEEP_ALIVE_MS, idleMs: IDLE_MS, stalledMs: IDLE_MS };
    this.server = listeners.http('previews', bounds);
    this.server.on('clientError', (error, socket) => answerClientError(error, socket as Socket));
    this.server.on('request', (request, response) => {
      this.answer(request, response).catch((error: unknown) => this.note(error));
    });
    this.server.on('upgrade', (request, socket, head) => {
      this.upgrade(request, socket as Socket, head).catch((error: unknown) => this.note(error));
    });
  }

  /** @throws if the port is taken */
  async onApplicationBootstrap(): Promise<void> {
    const { PREVIEW_PORT: port, HOST: host, PREVIEW_DOMAIN: domain } = this.config;
    if (port === 'off') return;
    this.server.listen(port, host);
    await once(this.server, 'listening');
    this.logger.info({ port: this.port, domain }, 'previews are served');
  }

  async onModuleDestroy(): Promise<void> {
    if (!this.server.listening) return;
    const closed = once(this.server, 'close');
    this.server.close();
    // Those of WebSockets too, which the server does not track.
    this.listeners.destroyAll(this.server);
    await closed;
  }

  /** Adds to what is served; to be called before the server listens. */
  extend(extension: PreviewExtension): void {
    this.extension = extension;
  }

  /** The public URL of a port, without a path; null if previews are off. */
  originOf(target: PreviewTarget): string | null {
    const { port } = this;
    return port === null ? null : originOf(target, { ...this.config, PREVIEW_PORT: port });
  }

  private get port(): number | null {
    const address = this.server.address();
    return typeof address === 'object' && address !== null ? address.port : null;
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => undefined);
    request.on('error', () => undefined);
    // A request that was closed has none any more.
    const { socket } = request;
    let asked: PreviewTarget | undefined;
    try {
      const preview = this.previewOf(request);
      asked = preview.target;
      const path = request.url?.split('?', 1)[0] ?? '';
      const { extension } = this;
      if (extension?.port === preview.target.port) await extension.serve(request, response, preview.target);
      else if (path.startsWith(OWN_PATHS)) await this.answerOwn(path, request, response, preview);
      else {
        const known = await extension?.visitOf(request, preview);
        await this.previews.serve(request, response, { ...preview, known });
      }
    } catch (error) {
      if (socket.destroyed) return;
      this.note(error);
      if (response.headersSent) response.destroy();
      else {
        // The rest of the body is not read.
        if (!request.complete) response.shouldKeepAlive = false;
        const refusal = asked && !wantsPage(request) ? await this.extension?.refusalOf(error, asked) : null;
        if (refusal) answerJson(response, refusal);
        else answerFault(request, response, error);
      }
    }
  }

  private async upgrade(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    socket.on('error', () => socket.destroy());
    socket.setTimeout(IDLE_MS, () => socket.destroy());
    try {
      const isHandshake = request.method === 'GET' && /^websocket$/i.test(request.headers.upgrade?.trim() ?? '');
      if (!isHandshake) throw new DomainError('upgrade_required', { headers: { upgrade: 'websocket' } });
      const preview = this.previewOf(request);
      const known = await this.extension?.visitOf(request, preview);
      await this.previews.serveUpgrade(request, { socket, head }, { ...preview, known });
    } catch (error) {
      if (!socket.writable) return;
      this.note(error);
      const response = new ServerResponse(request);
      response.shouldKeepAlive = false;
      response.assignSocket(socket);
      // The client may never close its side.
      response.once('finish', () => socket.destroySoon());
      answerFault(request, response, error);
    }
  }

  /** @throws DomainError `misdirected_request`; `invalid_parameters` for a head that HTTP does not allow */
  private previewOf(request: IncomingMessage): PreviewRequest {
    const fault = headFault(request);
    if (fault) throw fault;
    if (!/^[/*]/.test(request.url ?? '')) {
      throw invalidParameters([{ field: 'target', message: 'must be a path' }]);
    }
    // An application may read other codings otherwise than Node.js, and find another end of the body.
    const coding = request.headers['transfer-encoding'];
    if (coding !== undefined && coding.toLowerCase() !== 'chunked') {
      throw invalidParameters([{ field: 'transfer-encoding', message: 'must be chunked' }]);
    }
    const target = targetOf(request, this.config.PREVIEW_DOMAIN);
    if (!target) throw new DomainError('misdirected_request');
    const origin = this.originOf(target);
    if (origin === null) throw new DomainError('shutting_down');
    return { target, origin, clientAddress: this.clients.of(request) };
  }

  private async answerOwn(
    path: string,
    request: IncomingMessage,
    response: ServerResponse,
    preview: PreviewRequest,
  ): Promise<void> {
    const { method, headers } = request;
    if (path === OPEN_PATH && (method === 'GET' || method === 'HEAD')) {
      answerOpenPage(response);
      return;
    }
    if ((path !== SESSION_PATH && path !== START_PATH) || method !== 'POST') throw new DomainError('route_not_found');
    // Another site's page can send neither without a preflight.
    if (!/^application\/json\b/i.test(headers['content-type'] ?? '')) throw new DomainError('unsupported_media_type');
    if (headers.origin !== undefined && headers.origin !== preview.origin) throw new DomainError('not_authorized');
    if (path === SESSION_PATH) await this.openSession(request, response, preview);
    else {
      await this.previews.start(request, preview);
      response.writeHead(204, { 'cache-control': 'no-store' }).end();
    }
  }

  /** Exchanges a link's token for the cookie. */
  private async openSession(
    request: IncomingMessage,
    response: ServerResponse,
    { target, clientAddress }: PreviewRequest,
  ): Promise<void> {
    const late = (): DomainError => new DomainError('request_timeout');
    const token = await within(tokenIn(request), { ms: HEAD_MS, late });
    const redeem = async () => {
      const redeemed = await this.links.redeem(target, token, clientAddress);
      if (!redeemed) throw new DomainError('unauthorized');
      return redeemed;
    };
    const session = await this.refused.guard(redeem, { address: addressKey(clientAddress), credential: token });
    const seconds = Math.max(1, Math.floor((session.expiresAt.getTime() - Date.now()) / 1000));
    const attributes = ['Path=/', 'Secure', 'HttpOnly', 'SameSite=None', 'Partitioned', `Max-Age=${String(seconds)}`];
    const cookie = [`${COOKIE}=${session.cookie}`, ...attributes].join('; ');
    response.writeHead(204, { 'set-cookie': cookie, 'cache-control': 'no-store' }).end();
  }

  private note(error: unknown): void {
    const isExpected = error instanceof DomainError && (!error.isServerFault || error.kind === 'application_failed');
    if (!isExpected) this.logger.warn({ err: error }, 'a preview could not be served');
  }
}

/** @throws DomainError `body_too_large`, `invalid_parameters` */
async function tokenIn(request: IncomingMessage): Promise<string> {
  const text = await shortBody(request);
  let body: unknown = null;
  try {
    body = JSON.parse(text);
  } catch {
    // Not JSON: no token either.
  }
  const token = typeof body === 'object' && body !== null && 'token' in body ? body.token : undefined;
  if (typeof token !== 'string') throw invalidParameters([{ field: 'token', message: 'must be a string' }]);
  return token;
}

/** Not read by `for await`, which closes the connection of a body that is too long, before it is answered. */
function shortBody(request: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let bytes = 0;
    request.on('data', (part: Buffer) => {
      bytes += part.length;
      if (bytes <= MOST_SESSION_BODY) parts.push(part);
      else {
        request.pause();
        reject(new DomainError('body_too_large'));
      }
    });
    request.once('end', () => resolve(Buffer.concat(parts).toString()));
    request.once('close', () => reject(new DomainError('invalid_parameters')));
  });
}

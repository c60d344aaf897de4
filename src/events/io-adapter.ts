import type { IncomingMessage, Server as HttpServer } from 'node:http';
import type { Socket as TcpSocket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { INestApplication } from '@nestjs/common';
import { IoAdapter } from '@nestjs/platform-socket.io';
import { Namespace, Server, ServerOptions } from 'socket.io';
import { WebSocketServer } from 'ws';
import type { Config } from '../config';
import { DomainError } from '../errors';
import { AllowedHosts, answerPings, headFault, Upgrades } from '../http';
import { SocketLimits } from '../rate-limits';
import { guardEngine, queryOf } from './engine-guard';

/** Maximum bytes of a message, as for HTTP bodies. */
const LONGEST_MESSAGE = 65_536;

/** Version of the Engine.IO protocol, that of Socket.IO 3 and later. */
const PROTOCOL = '4';

/** Time in which a client may close its connection at shutdown before it is cut. */
const GOODBYE_MS = 1_000;

/**
 * Time in which a client may finish the WebSocket's closing handshake. By default, `ws` keeps the connection and its
 * buffered data for 30 seconds after the client was dropped because it does not read.
 */
const CLOSE_WITHIN_MS = 5_000;

class ClosingWebSockets extends WebSocketServer {
  constructor(options: ConstructorParameters<typeof WebSocketServer>[0]) {
    // `closeTimeout` is missing in the types of `ws`.
    super({ ...options, closeTimeout: CLOSE_WITHIN_MS, autoPong: false } as typeof options);
  }

  override handleUpgrade(...[request, socket, head, done]: Parameters<WebSocketServer['handleUpgrade']>): void {
    super.handleUpgrade(request, socket, head, (client, ...rest) => {
      answerPings(client);
      done(client, ...rest);
    });
  }
}

/** Configures Socket.IO on the server's own port. */
export class BerthIoAdapter extends IoAdapter {
  private closing = false;
  private readonly connections = new Set<TcpSocket>();
  private readonly upgrades: Upgrades;
  private readonly limits: SocketLimits;
  private readonly hosts: AllowedHosts;

  constructor(
    app: INestApplication,
    private readonly config: Pick<Config, 'CORS_ORIGINS'>,
  ) {
    super(app);
    this.upgrades = app.get(Upgrades);
    this.limits = app.get(SocketLimits);
    this.hosts = app.get(AllowedHosts);
  }

  override createIOServer(port: number, options: Partial<ServerOptions> = {}): Server {
    const origins = this.config.CORS_ORIGINS;
    const before = (this.httpServer as HttpServer).listeners('upgrade');
    const server = super.createIOServer(port, {
      ...options,
      // CORS concerns polling only. WebSockets have no CORS, and need none: a page can do nothing without a token,
      // and browsers send none by themselves.
      ...(origins.length > 0 && { cors: { origin: origins.includes('*') ? '*' : [...origins] } }),
      maxHttpBufferSize: LONGEST_MESSAGE,
      // Closes connections that join no namespace in this time, such as those without a token.
      connectTimeout: 10_000,
      upgradeTimeout: 10_000,
      pingInterval: 25_000,
      pingTimeout: 20_000,
      // Compression costs about 300 KB per socket, and events are only a few hundred bytes.
      perMessageDeflate: false,
      wsEngine: ClosingWebSockets,
    } satisfies Partial<ServerOptions>) as Server;
    guardEngine(server.engine, (request) => this.admit(request));
    // Engine.IO's own listener would treat every upgrade of the server as a WebSocket of its own, or leave it
    // unanswered.
    for (const listener of server.httpServer.listeners('upgrade')) {
      if (!before.includes(listener)) server.httpServer.off('upgrade', listener as () => void);
    }
    this.upgrades.add({
      serves: (path) => path.startsWith(`${server.path()}/`),
      accept: (request, socket, head) => {
        this.connections.add(socket);
        socket.once('close', () => this.connections.delete(socket));
        server.engine.handleUpgrade(request, socket, head);
      },
    });
    return server;
  }

  /** Checks a request before a connection costs anything, and before authentication. @throws DomainError */
  private async admit(request: IncomingMessage): Promise<void> {
    if (this.closing) throw new DomainError('shutting_down');
    const misdirected = this.hosts.fault(request);
    if (misdirected) throw misdirected;
    await this.limits.admit(request);
    const fault = headFault(request);
    if (fault) throw fault;
    // Refused before the WebSocket is established, which could not carry an error response.
    if (queryOf(request).get('EIO') !== PROTOCOL) throw new DomainError('unsupported_protocol');
  }

  /**
   * Closes the connections below the sockets, so that clients see `transport close` and reconnect by themselves; a
   * `disconnect` from the server would tell them to stay away. Fastify closes the HTTP server.
   */
  override async close(server: Server | Namespace): Promise<void> {
    if (!(server instanceof Server)) return;
    this.closing = true;
    server.engine.close();
    const deadline = performance.now() + GOODBYE_MS;
    while (this.connections.size > 0 && performance.now() < deadline) await delay(10);
    for (const connection of this.connections) connection.destroy();
  }
}

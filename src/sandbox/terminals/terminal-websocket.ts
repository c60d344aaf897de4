import { Inject, Injectable, OnModuleInit } from '@nestjs/common';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { StringDecoder } from 'node:string_decoder';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import { databaseFault, DomainError, invalidParameters } from '../../errors';
import { bearerToken } from '../../auth';
import { answerPings, headFault, refuseUpgrade, Upgrades, type WebSocketEndpoint } from '../../http';
import { LOGGER, type Logger } from '../../logging';
import { SocketLimits } from '../../rate-limits';
import type { TerminalExit, TerminalRole } from './attachment';
import { TerminalAdmission } from './terminal-admission';
import {
  type AttachedMessage,
  type CloseReason,
  FAULTS,
  MAX_INPUT_BYTES,
  type TerminalCodec,
  type TerminalConnection,
} from './terminal-connection';

const PATH = /^\/ws\/terminal\/([^/]+)$/;

/** JSON escapes may make input six times as long as its bytes. */
const LONGEST_FRAME = 6 * MAX_INPUT_BYTES + 1024;

/**
 * Maximum bytes that wait for a client that does not read. Output counts as well, but its own window keeps it below
 * this limit, even with JSON escapes.
 */
const MAX_WAITING = 2 * 1024 * 1024;

const PING_EVERY_MS = 25_000;
/** How long a client may take to close the connection. */
const GOODBYE_MS = 1_000;

/** The subprotocol for browsers, which cannot set headers. Beside it they offer `bearer.` followed by the token. */
const PROTOCOL = 'berth.v1';
const BEARER = 'bearer.';
/** RFC 9110, 5.6.2. */
const HTTP_TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Why the server closes a connection: the close codes of RFC 6455 where one fits. */
export const CLOSE = { over: 1000, restart: 1012, tokenEnded: 4001, tooSlow: 4002, ended: 4003 } as const;

const INVALID_SIZE = 'cols and rows must be whole numbers from 1 to 1000';

type Typed = { type: 'input'; bytes: Buffer } | { type: 'resize'; message: object };
type Message = Typed | { type: 'ping' } | { type: 'unknown' };

/**
 * Terminals over plain WebSockets at `/ws/terminal/:id`. A text frame that is a JSON object of a known `type` is a
 * message (`input`, `resize`, `ping`); any other frame is input. The server sends JSON: `connected`, `output`, `pong`,
 * `error`.
 */
@Injectable()
export class TerminalWebSockets implements WebSocketEndpoint, OnModuleInit {
  private readonly server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    // See `answerPings`.
    autoPong: false,
    maxPayload: LONGEST_FRAME,
    handleProtocols: (offered) => (offered.has(PROTOCOL) ? PROTOCOL : false),
  });

  constructor(
    private readonly admission: TerminalAdmission,
    private readonly upgrades: Upgrades,
    private readonly limits: SocketLimits,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  onModuleInit(): void {
    this.upgrades.add(this);
  }

  serves(path: string): boolean {
    return PATH.test(path);
  }

  accept(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const onError = (): void => void socket.destroy();
    socket.on('error', onError);
    this.admit(request, socket, head).then(
      () => socket.off('error', onError),
      (error: unknown) => {
        const fault = error instanceof DomainError ? error : databaseFault(error);
        if (!fault) this.logger.error({ err: error }, 'a terminal could not be opened');
        refuseUpgrade(request, socket, fault ?? new DomainError('internal_error'));
      },
    );
  }

  /** @throws DomainError before the handshake is answered */
  private async admit(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    await this.limits.admit(request);
    const fault = headFault(request);
    if (fault) throw fault;
    const { container, query } = targetOf(request);
    const codec = new WebSocketCodec();
    const connection = await this.admission.admit(request, codec, {
      token: tokenOf(request),
      asked: { ...query, container },
      isStrict: true,
    });
    // Also if `handleUpgrade` refuses the connection.
    socket.once('close', () => connection.leave());
    if (socket.destroyed) connection.leave();
    else this.server.handleUpgrade(request, socket, head, (client) => codec.begin(client, connection));
  }
}

/** Messages are JSON in text frames. */
class WebSocketCodec implements TerminalCodec {
  private readonly decoder = new StringDecoder('utf8');
  private client: WebSocket;
  private connection: TerminalConnection;

  begin(client: WebSocket, connection: TerminalConnection): void {
    this.client = client;
    this.connection = connection;
    client.on('error', () => undefined);
    client.on('message', (data, isBinary) => this.take(messageOf(bytesOf(data), isBinary)));
    answerPings(client);
    this.watchAlive();
    connection.open();
  }

  attached(message: AttachedMessage): void {
    this.send({ type: 'connected', ...message });
  }

  output(_offset: number, bytes: Buffer): void {
    const data = this.decoder.write(bytes);
    // The protocol has no acknowledgements, so what the kernel has taken counts as acknowledged.
    const taken = (): void => {
      this.connection.acknowledge(bytes.length);
      this.connection.noteWritten(bytes.length);
    };
    if (data === '') setImmediate(taken);
    else this.client.send(JSON.stringify({ type: 'output', data }), taken);
  }

  role(role: TerminalRole): void {
    if (role === 'watcher') this.complain('another client has taken over the input; you are watching');
  }

  exit(exit: TerminalExit): void {
    const isOrdinary = exit.reason === 'exited' || exit.reason === 'ended';
    if (!isOrdinary) this.complain(`the terminal has ended: ${exit.reason.replaceAll('_', ' ')}`);
    this.end(
      isOrdinary ? CLOSE.over : CLOSE.ended,
      exit.code === null ? exit.reason : `${exit.reason} ${String(exit.code)}`,
    );
  }

  close(reason: CloseReason): void {
    if (reason === 'token_ended') {
      this.end(CLOSE.tokenEnded, 'the token has ended');
      return;
    }
    if (reason === 'interrupted') {
      this.end(CLOSE.restart, 'the terminal goes on');
      return;
    }
    this.client.close(CLOSE.tooSlow, 'the output was not read');
    this.client.terminate();
  }

  private take(message: Message): void {
    switch (message.type) {
      case 'ping':
        this.send({ type: 'pong' });
        return;
      case 'resize':
        if (this.connection.resize(message.message) !== null) this.complain(INVALID_SIZE);
        return;
      case 'input': {
        const fault = this.connection.input(message.bytes);
        if (fault !== null) this.complain(FAULTS[fault]);
        return;
      }
      case 'unknown':
        this.complain('data must be text');
    }
  }

  /** Pings the client. A pong counts only with the last ping's payload, which proves that the client has read it. */
  private watchAlive(): void {
    const { client } = this;
    let asked = 0;
    let answered = 0;
    client.on('pong', (data) => {
      if (data.toString() === String(asked)) answered = asked;
    });
    const pings = setInterval(() => {
      if (answered < asked) client.terminate();
      asked += 1;
      client.ping(String(asked));
    }, PING_EVERY_MS).unref();
    client.once('close', () => clearInterval(pings));
  }

  private complain(data: string): void {
    this.send({ type: 'error', data });
  }

  private send(frame: object): void {
    const { client } = this;
    if (client.bufferedAmount > MAX_WAITING) client.terminate();
    else client.send(JSON.stringify(frame), () => undefined);
  }

  private end(code: number, reason: string): void {
    const { client } = this;
    client.close(code, reason);
    setTimeout(() => client.terminate(), GOODBYE_MS).unref();
  }
}

/** A JSON object with a known `type` is a message. All else is typed input. */
function messageOf(bytes: Buffer, isBinary: boolean): Message {
  const raw = { type: 'input', bytes } as const;
  // `{`
  if (isBinary || bytes[0] !== 0x7b) return raw;
  let parsed: { type?: unknown; data?: unknown };
  try {
    parsed = JSON.parse(bytes.toString()) as object;
  } catch {
    return raw;
  }
  switch (parsed.type) {
    case 'input':
      return typeof parsed.data === 'string' ? { type: 'input', bytes: Buffer.from(parsed.data) } : { type: 'unknown' };
    case 'resize':
      return { type: 'resize', message: parsed };
    case 'ping':
      return { type: 'ping' };
    default:
      return raw;
  }
}

function bytesOf(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}

/** @throws DomainError `invalid_parameters`, `container_not_found` */
function targetOf({ url = '' }: IncomingMessage): { container: string; query: Record<string, string> } {
  const { pathname, searchParams } = new URL(url, 'http://localhost');
  let container: string;
  try {
    container = decodeURIComponent(PATH.exec(pathname)?.[1] ?? '');
  } catch {
    throw invalidParameters([{ field: 'id', message: 'must be percent-encoded UTF-8' }]);
  }
  const query: Record<string, string> = {};
  for (const [name, value] of searchParams) {
    query[name] = value;
  }
  return { container, query };
}

/**
 * The token from the `Authorization` header or from a subprotocol. Never from the URL, which ends up in logs.
 *
 * @throws DomainError `invalid_parameters` for subprotocols that a handshake must not offer
 */
function tokenOf({ headers }: IncomingMessage): string | null {
  const bearer = bearerToken(headers.authorization);
  const protocols = headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? [];
  const isSane = protocols.every((name) => HTTP_TOKEN.test(name)) && new Set(protocols).size === protocols.length;
  const offered = protocols.find((name) => name.startsWith(BEARER))?.slice(BEARER.length);
  if (!isSane || (offered !== undefined && !protocols.includes(PROTOCOL))) {
    const message = `must be a list of protocols; a token requires ${PROTOCOL}`;
    throw invalidParameters([{ field: 'sec-websocket-protocol', message }]);
  }
  return bearer ?? offered ?? null;
}

import type { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Server } from 'socket.io';
import { databaseFault, DomainError, errorAnswer, invalidParameters } from '../errors';
import { headersOf, refuseUpgrade, requestIdOf } from '../http';

type Engine = Server['engine'];

/** The argument of Engine.IO's `connection_error`. `res` is missing for WebSocket handshakes. */
interface EngineFault {
  readonly req: IncomingMessage & { readonly res?: ServerResponse; readonly websocket?: unknown };
  readonly code: number;
  readonly message: string;
}

/** Engine.IO's own errors, indexed by its error codes, in Berth's terms. */
const FAULTS: readonly (() => DomainError)[] = [
  () => new DomainError('unknown_transport'),
  () => new DomainError('unknown_session'),
  () => new DomainError('method_not_allowed', { headers: { allow: 'GET' } }),
  () => invalidParameters([{ field: 'transport', message: 'does not match the session or the request' }]),
  () => new DomainError('not_authorized'),
  () => new DomainError('unsupported_protocol'),
];

/**
 * Calls `admit` for every Engine.IO request without a session, before a session is created. Requests that `admit` or
 * Engine.IO refuses are answered in the usual shape of errors, plus `message`, which the protocol's clients display.
 *
 * @param admit rejects with a DomainError to refuse a request
 */
export function guardEngine(engine: Engine, admit: (request: IncomingMessage) => Promise<void>): void {
  const refusals = new WeakMap<IncomingMessage, DomainError>();
  engine.use((request: IncomingMessage, _response: ServerResponse, next: (error?: Error) => void) => {
    if (hasSession(engine, request)) {
      next();
      return;
    }
    admit(request).then(
      () => next(),
      (error: unknown) => {
        const fault = error instanceof DomainError ? error : databaseFault(error);
        refusals.set(request, fault ?? new DomainError('internal_error'));
        next(new Error('refused'));
      },
    );
  });
  engine.on('connection', boundConnection);
  // Engine.IO answers after its listeners have run, and only if they have not answered.
  engine.on('connection_error', ({ req, code, message }: EngineFault) => {
    const refusal = refusals.get(req);
    if (refusal) answer(req, refusal);
    else {
      const fault = FAULTS[code]?.() ?? new DomainError('internal_error');
      answer(req, new DomainError(fault.kind, { ...fault.options, fields: { ...fault.options.fields, message } }));
    }
  });
}

/** Packets that a connection may send within one turn of the event loop, such as those of one polling request. */
const MAX_PACKETS_PER_TURN = 500;

/** Namespaces that a connection may be joining at a time. */
const MAX_JOINING = 8;

/** Refusals of a connection that has joined a namespace; before, the first one closes it. */
const MAX_REFUSALS = 8;

/** Packets that may wait for a client that goes on sending. The gateways have lower bounds of their own. */
const MAX_WAITING = 3_000;

/** The types of Socket.IO's packets, as the first character of an Engine.IO message. */
const CONNECT = '0';
const CONNECT_ERROR = '4';

interface EnginePacket {
  readonly type: string;
  readonly data?: unknown;
}

/** An Engine.IO connection. Its events are documented; `writeBuffer` is private only in the types. */
interface EngineConnection extends EventEmitter {
  readonly writeBuffer: readonly unknown[];
  close(discard?: boolean): void;
}

/**
 * Bounds what one connection can make the server do, for all namespaces: its packets within a turn, the namespaces that
 * it is joining, those that refused it, and the packets that wait for it. A body of 64 KB has room for thousands of
 * CONNECT packets, each of which would be authenticated and answered.
 */
function boundConnection(connection: EngineConnection): void {
  let packets = 0;
  let joining = 0;
  let refusals = 0;
  let hasJoined = false;
  const isRefused = (): boolean => refusals > (hasJoined ? MAX_REFUSALS : 0);
  connection.on('packet', ({ type, data }: EnginePacket) => {
    if (packets === 0) setImmediate(() => (packets = 0));
    packets += 1;
    if (type === 'message' && startsWith(data, CONNECT)) joining += 1;
    const isFlooding = packets > MAX_PACKETS_PER_TURN || joining > MAX_JOINING;
    if (isFlooding || connection.writeBuffer.length > MAX_WAITING) connection.close(true);
    else if (isRefused()) connection.close();
  });
  connection.on('packetCreate', ({ type, data }: EnginePacket) => {
    if (type !== 'message') return;
    if (startsWith(data, CONNECT)) hasJoined = true;
    else if (startsWith(data, CONNECT_ERROR)) refusals += 1;
    else return;
    joining -= 1;
    // The packet is not written yet. Closing waits until it is.
    if (isRefused()) setImmediate(() => connection.close());
  });
}

function startsWith(data: unknown, type: string): boolean {
  return typeof data === 'string' && data.startsWith(type);
}

function hasSession(engine: Engine, request: IncomingMessage): boolean {
  const sid = queryOf(request).get('sid');
  return sid !== null && Object.hasOwn((engine as unknown as { readonly clients: object }).clients, sid);
}

/** The query of an Engine.IO request. */
export function queryOf({ url = '' }: IncomingMessage): URLSearchParams {
  return new URLSearchParams(url.includes('?') ? url.slice(url.indexOf('?') + 1) : '');
}

function answer(request: EngineFault['req'], fault: DomainError): void {
  const { res: response, websocket } = request;
  // An established WebSocket can only be closed, which Engine.IO does.
  if (websocket !== undefined) return;
  if (!response) {
    refuseUpgrade(request, request.socket, fault);
    return;
  }
  const answer = errorAnswer(fault, requestIdOf(request.headers));
  response.writeHead(answer.status, headersOf(answer)).end(JSON.stringify(answer.body));
}

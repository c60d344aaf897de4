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
  () => invalidParameters([{ field: 'transport', message: 'does not fit the session or the request' }]),
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

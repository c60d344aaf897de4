import { io, type Socket } from 'socket.io-client';
import type { ErrorDetail } from './api-types.ts';
import { BerthError, type BerthErrorCode } from './errors.ts';
import type { Http } from './http.ts';
import { backoff } from './retries.ts';

/** Refusals after which a retry may succeed. */
const PASSING: ReadonlySet<string> = new Set([
  'internal_error',
  'too_many_connections',
  'rate_limit_exceeded',
  'shutting_down',
  'database_busy',
  'database_unavailable',
  'docker_unavailable',
]);

export interface LiveSocketOptions {
  /** The Socket.IO namespace, such as `/`. */
  readonly namespace: string;
  /** Handshake fields beside the token; called for each connection. */
  readonly auth: () => Readonly<Record<string, unknown>>;
  /** The server refused permanently: there is no further attempt. */
  readonly onRefused: (error: BerthError) => void;
  /** A connection failed, broke, or was refused temporarily: another attempt follows. */
  readonly onInterrupted: () => void;
}

/** A Socket.IO connection that reconnects as long as that may help, also after the server closed it. */
export class LiveSocket {
  readonly io: Socket;
  private refusals = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    http: Http,
    private readonly options: LiveSocketOptions,
  ) {
    const { namespace, auth } = options;
    this.io = io(`${http.url}${namespace}`, {
      forceNew: true,
      // Starting with polling would cost three more requests; it is the fallback if a proxy blocks WebSockets.
      transports: ['websocket', 'polling'],
      tryAllTransports: true,
      reconnectionDelay: 250,
      reconnectionDelayMax: 5_000,
      auth: (send) => {
        http.token().then(
          (token) => send({ ...auth(), token }),
          // Connects without a token; the server's refusal then names what is missing.
          () => send(auth()),
        );
      },
    });
    this.io.on('connect', () => (this.refusals = 0));
    this.io.on('connect_error', (error) => this.failed(error));
    this.io.on('disconnect', (reason) => {
      if (reason === 'io client disconnect') return;
      options.onInterrupted();
      // Socket.IO does not reconnect after a disconnect by the server. The server's answer to the next attempt gives
      // the reason, if there is one.
      if (reason === 'io server disconnect') this.later();
    });
  }

  close(): void {
    clearTimeout(this.timer);
    this.io.disconnect();
  }

  private failed(error: Error & { readonly data?: unknown }): void {
    const refusal = refusalOf(error);
    // Socket.IO itself retries connections that could not be made.
    if (this.io.active || !refusal || PASSING.has(refusal.code)) this.options.onInterrupted();
    if (this.io.active) return;
    if (refusal && !PASSING.has(refusal.code)) this.options.onRefused(refusal);
    else this.later(refusal?.retryAfterMs ?? 0);
  }

  private later(atLeastMs = 0): void {
    this.refusals += 1;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.io.connect(), Math.max(atLeastMs, backoff(this.refusals)));
  }
}

function refusalOf({ message, data }: Error & { readonly data?: unknown }): BerthError | null {
  if (typeof data !== 'object' || data === null || !('code' in data)) return null;
  const { code, error: _, retry_after: seconds, details, ...fields } = data as Readonly<Record<string, unknown>>;
  return new BerthError({
    status: 0,
    code: code as BerthErrorCode,
    message,
    details: (details ?? []) as readonly ErrorDetail[],
    fields,
    retryAfterMs: typeof seconds === 'number' ? seconds * 1_000 : null,
  });
}

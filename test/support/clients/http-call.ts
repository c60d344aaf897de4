import { randomBytes } from 'node:crypto';
import { type IncomingMessage, request as httpRequest } from 'node:http';
import { text } from 'node:stream/consumers';
import { noteAnswer, type SeenAnswer } from './described';

/** Options of a request. */
export interface HttpCall {
  readonly method?: string;
  readonly token?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** The client's own address: any of 127.0.0.0/8. */
  readonly from?: string;
  /** Milliseconds after which the client breaks the connection, answered or not; then {@link HungUp} is thrown. */
  readonly hangUpMs?: number;
}

/** The client hung up before the response. */
export class HungUp extends Error {
  override readonly name = 'HungUp';
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Sends one request with only Node.js's default headers and the given ones. @returns the result of `take` */
function send<T>(
  target: URL,
  { method = 'GET', token, headers = {}, body, from, hangUpMs }: HttpCall,
  take: (response: IncomingMessage) => T | Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(target, {
      method,
      agent: false,
      ...(from !== undefined && { localAddress: from }),
      headers: {
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
    });
    request.once('response', (response) => void (async () => take(response))().then(resolve, reject));
    // Also while the body is read: the error is then the reason of the hang-up.
    request.on('error', reject);
    if (hangUpMs !== undefined) {
      const timer = setTimeout(() => request.destroy(new HungUp('the client hung up')), hangUpMs);
      request.once('close', () => clearTimeout(timer));
    }
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** Makes a request. Resolves with the head of the response, whose body can be read. */
export function openCall(url: string, path: string, call: HttpCall = {}): Promise<IncomingMessage> {
  return send(new URL(path, url), call, (response) => response);
}

/** Makes a request. Resolves with the whole response. */
export function httpCall(url: string, path: string, call: HttpCall = {}): Promise<HttpAnswer> {
  return send(new URL(path, url), call, async (response) => {
    const sent = await text(response);
    const isJson = response.headers['content-type']?.startsWith('application/json') && sent !== '';
    const body = isJson ? (JSON.parse(sent) as Record<string, unknown>) : undefined;
    noteHead(response, { method: call.method ?? 'GET', url: path, body });
    return { status: response.statusCode ?? 0, headers: response.headers, body: body ?? {} };
  });
}

/** Checks the response against `docs/openapi.json`. */
export function noteHead(response: IncomingMessage, asked: Pick<SeenAnswer, 'method' | 'url' | 'body'>): void {
  const header = (name: string): string | undefined => response.headers[name]?.toString();
  noteAnswer({ ...asked, status: response.statusCode ?? 0, header });
}

/** A token that does not exist. */
export const guessedToken = (): string => `berth_${randomBytes(32).toString('hex')}`;

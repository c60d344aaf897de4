import { randomBytes } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { noteAnswer } from './described';

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

/** Makes one request with only Node.js's default headers and the given ones, from an address of the test's choice. */
export function httpCall(url: string, path: string, call: HttpCall = {}): Promise<HttpAnswer> {
  const { method = 'GET', token, headers = {}, body, from, hangUpMs } = call;
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      new URL(path, url),
      {
        method,
        agent: false,
        ...(from !== undefined && { localAddress: from }),
        headers: {
          ...(token !== undefined && { authorization: `Bearer ${token}` }),
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...headers,
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.once('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          const json = response.headers['content-type']?.startsWith('application/json') && text !== '';
          const parsed = json ? (JSON.parse(text) as Record<string, unknown>) : undefined;
          const status = response.statusCode ?? 0;
          const header = (name: string): string | undefined => response.headers[name]?.toString();
          noteAnswer({ method, url: path, status, header, body: parsed });
          resolve({ status, headers: response.headers, body: parsed ?? {} });
        });
      },
    );
    request.on('error', reject);
    if (hangUpMs !== undefined) {
      const timer = setTimeout(() => request.destroy(new HungUp('the client hung up')), hangUpMs);
      request.once('close', () => clearTimeout(timer));
    }
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** A token that does not exist. */
export const guessedToken = (): string => `berth_${randomBytes(32).toString('hex')}`;

import { Injectable, OnApplicationShutdown } from '@nestjs/common';
import type { LookupAddress, LookupOptions } from 'node:dns';
import * as http from 'node:http';
import * as https from 'node:https';
import { isIPv6 } from 'node:net';
import { Stopwatch } from '../scheduling';
import { AddressRefusedError, Destinations, literalOf, NameResolver } from './destinations';
import { type Signed, signedHeaders } from './signing';

/** From the resolution of the name to the end of the answer, as far as it is read. */
const WITHIN_MS = 15_000;
/** How long an idle connection is kept for the next message. */
const IDLE_MS = 4_000;
/** How much of an answer's body is read, in bytes. */
const MOST_ANSWER = 4_096;

/** One message for one receiver. */
export interface Message extends Signed {
  readonly url: string;
  /** In plain text: the present one and, for a while after a rotation, the former one. */
  readonly secrets: readonly string[];
}

/** The outcome of one attempt. */
export interface Attempt {
  /** Null if there was no answer. */
  readonly responseStatus: number | null;
  /** Its beginning; null if there was no answer. */
  readonly responseBody: string | null;
  /** Why the attempt failed; null if the message was accepted (2xx). */
  readonly error: AttemptError | null;
  /** Milliseconds for which the receiver wants no message (`Retry-After` of 429 and 503); null if it does not say. */
  readonly retryAfterMs: number | null;
  readonly durationMs: number;
}

type AttemptError =
  | 'status_refused'
  | 'redirected'
  | 'address_refused'
  | 'name_not_resolved'
  | 'connection_refused'
  | 'connection_failed'
  | 'certificate_refused'
  | 'timed_out';

type Protocol = 'https:' | 'http:';

/**
 * Sends signed messages. Names are resolved at each connection, and the address that was checked is the one that is
 * dialled. Redirects are not followed.
 */
@Injectable()
export class WebhookSender implements OnApplicationShutdown {
  private readonly agents = {
    'https:': new https.Agent({ keepAlive: true, timeout: IDLE_MS, lookup: this.lookup('https:') }),
    'http:': new http.Agent({ keepAlive: true, timeout: IDLE_MS, lookup: this.lookup('http:') }),
  };

  constructor(
    private readonly destinations: Destinations,
    private readonly names: NameResolver,
  ) {}

  onApplicationShutdown(): void {
    for (const agent of Object.values(this.agents)) agent.destroy();
  }

  /**
   * Makes one attempt.
   *
   * @param signal cuts the attempt off
   * @returns null if it was cut off
   */
  async send(message: Message, signal: AbortSignal): Promise<Attempt | null> {
    const since = new Stopwatch();
    const bound = new AbortController();
    const abort = (): void => bound.abort();
    const timer = setTimeout(abort, WITHIN_MS);
    signal.addEventListener('abort', abort);
    if (signal.aborted) abort();
    try {
      const seen = await this.post(message, bound.signal);
      return { ...seen, durationMs: Math.round(since.steadyAge) };
    } catch (error) {
      if (signal.aborted) return null;
      const seen = { responseStatus: null, responseBody: null, retryAfterMs: null };
      const reason = bound.signal.aborted ? 'timed_out' : reasonOf(error);
      return { ...seen, error: reason, durationMs: Math.round(since.steadyAge) };
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    }
  }

  private async post(message: Message, signal: AbortSignal): Promise<Omit<Attempt, 'durationMs'>> {
    const url = new URL(message.url);
    const protocol: Protocol = url.protocol === 'https:' ? 'https:' : 'http:';
    // Node resolves names alone by `lookup`.
    const address = literalOf(url.hostname);
    if (address !== null && !this.destinations.permits(address, protocol)) throw new AddressRefusedError();
    const request = (protocol === 'https:' ? https : http).request(url, {
      method: 'POST',
      agent: this.agents[protocol],
      signal,
      headers: {
        'content-type': 'application/json',
        'user-agent': 'Berth-Webhooks',
        ...signedHeaders(message, message.secrets),
      },
    });
    let response: http.IncomingMessage;
    try {
      response = await responseTo(request, message.body);
    } catch (error) {
      // The receiver closed a kept connection just when it was used again.
      if (request.reusedSocket && codeOf(error) === 'ECONNRESET') return this.post(message, signal);
      throw error;
    }
    const responseStatus = response.statusCode ?? 0;
    const responseBody = await beginningOf(response);
    const retryAfterMs = retryAfterOf(response, message.timestamp);
    return { responseStatus, responseBody, error: errorOf(responseStatus), retryAfterMs };
  }

  /** Resolves a name for `net.connect`, which dials no other than these addresses. */
  private lookup(protocol: Protocol) {
    return (
      name: string,
      options: LookupOptions,
      callback: (error: Error | null, addresses: string | LookupAddress[], family?: number) => void,
    ): void => {
      this.names.resolve(name).then(
        (found) => {
          const permitted = found.filter((address) => this.destinations.permits(address, protocol)).map(entryOf);
          const [first] = permitted;
          if (!first) callback(new AddressRefusedError(), '');
          else if (options.all === true) callback(null, permitted);
          else callback(null, first.address, first.family);
        },
        (error: unknown) => callback(error instanceof Error ? error : new Error(String(error)), ''),
      );
    };
  }
}

/** @throws the request's error, or an error if the connection closes without an answer, such as after `101` */
function responseTo(request: http.ClientRequest, body: string): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.on('response', resolve);
    request.on('error', reject);
    request.on('close', () => reject(new Error('the receiver closed the connection')));
    request.end(body);
  });
}

function entryOf(address: string): LookupAddress {
  return { address, family: isIPv6(address) ? 6 : 4 };
}

/**
 * Reads the beginning of an answer's body, and closes the connection if there is more. An answer that breaks off after
 * its status counts by its status.
 */
async function beginningOf(response: http.IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  try {
    for await (const part of response as AsyncIterable<Buffer>) {
      parts.push(part);
      length += part.length;
      if (length >= MOST_ANSWER) break;
    }
  } catch {
    // The status has arrived.
  }
  // PostgreSQL's text cannot contain NUL.
  return Buffer.concat(parts).subarray(0, MOST_ANSWER).toString('utf8').replaceAll('\0', '\ufffd');
}

function errorOf(status: number): AttemptError | null {
  if (status >= 200 && status < 300) return null;
  return status >= 300 && status < 400 ? 'redirected' : 'status_refused';
}

/** Reads `Retry-After`, in seconds or as a date (RFC 9110, 10.2.3). */
function retryAfterOf({ statusCode, headers }: http.IncomingMessage, now: Date): number | null {
  const text = headers['retry-after'];
  if (text === undefined || (statusCode !== 429 && statusCode !== 503)) return null;
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now.getTime();
  return Number.isNaN(ms) ? null : Math.max(ms, 0);
}

/** Error codes of DNS, in `node:dns`. */
const UNRESOLVED = new Set(['ENOTFOUND', 'ENODATA', 'ESERVFAIL', 'EREFUSED', 'ETIMEOUT', 'EBADNAME', 'EFORMERR']);
/** Node's codes of certificates that were not accepted. */
const CERTIFICATE = /CERT|^(UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|ERR_TLS|EPROTO|ERR_SSL)/;

function reasonOf(error: unknown): AttemptError {
  const reasons = [error, ...(error instanceof AggregateError ? (error.errors as unknown[]) : [])];
  if (reasons.some((each) => each instanceof AddressRefusedError)) return 'address_refused';
  const codes = reasons.map(codeOf);
  if (codes.includes('ETIMEDOUT')) return 'timed_out';
  if (codes.some((code) => UNRESOLVED.has(code))) return 'name_not_resolved';
  if (codes.includes('ECONNREFUSED')) return 'connection_refused';
  if (codes.some((code) => CERTIFICATE.test(code))) return 'certificate_refused';
  return 'connection_failed';
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown }).code);
}

/** The rules for headers between a visitor and an application in a container. */
import type { IncomingMessage } from 'node:http';

/** The cookie of a visitor. The prefix makes browsers refuse it from another host, and with a `Domain`. */
export const COOKIE = '__Host-berth-preview';
/** The header in which a program sends its token. `Authorization` is the application's own. */
export const TOKEN_HEADER = 'berth-token';

/** Fields of one connection alone (RFC 9110, 7.6.1), beside those that `Connection` names. */
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'upgrade']);
/** Replaced by what Berth itself knows, or meant for Berth. */
const NOT_PASSED = new Set(['forwarded', 'host', 'expect', 'http2-settings', 'x-real-ip', TOKEN_HEADER]);
/** What says where a message ends. If `Connection` named it away, its body would be read as the next message. */
const FRAMING = new Set(['content-length', 'transfer-encoding']);

interface Visit {
  readonly port: number;
  readonly host?: string | null;
  readonly clientAddress: string;
  /** The public origin of the preview. */
  readonly origin: string;
  readonly isUpgrade: boolean;
}

/** Header fields in the form of `rawHeaders`: names and values in turns. */
type RawHeaders = string[];

/**
 * The header of a request as the application gets it. Repeated fields, their order and the case of their names stay.
 * `Host` is that of a server on the container's own loopback interface, because development servers refuse others.
 */
export function requestHeaders({ rawHeaders, headers }: IncomingMessage, visit: Visit): RawHeaders {
  const { origin, port, clientAddress } = visit;
  const [scheme = '', host = ''] = origin.split('://', 2);
  const passed: RawHeaders = ['Host', visit.host ?? `localhost:${String(port)}`];
  const named = connectionOptions(headers.connection);
  for (const [name, value] of fieldsOf(rawHeaders)) {
    const key = name.toLowerCase();
    if (HOP_BY_HOP.has(key) || named.has(key) || isReplaced(key)) continue;
    const kept = key === 'cookie' ? withoutOwnCookie(value) : value;
    if (kept !== '') passed.push(name, kept);
  }
  const from = clientAddress.includes(':') ? `"[${clientAddress}]"` : clientAddress;
  passed.push('X-Forwarded-For', clientAddress, 'X-Forwarded-Host', host, 'X-Forwarded-Proto', scheme);
  passed.push('Forwarded', `for=${from};host="${host}";proto=${scheme}`);
  if (visit.isUpgrade) passed.push('Connection', 'Upgrade', 'Upgrade', 'websocket');
  else passed.push('Connection', 'close');
  return passed;
}

/**
 * The header of a response as the visitor gets it. Cookies with a `Domain` would reach other previews, and one by the
 * name of Berth's own would sign the visitor out: both are left out.
 */
export function responseHeaders({ rawHeaders, headers }: IncomingMessage): RawHeaders {
  const passed: RawHeaders = [];
  const named = connectionOptions(headers.connection);
  for (const [name, value] of fieldsOf(rawHeaders)) {
    const key = name.toLowerCase();
    if (HOP_BY_HOP.has(key) || named.has(key) || key === 'transfer-encoding') continue;
    if (key === 'set-cookie' && !isOwnHostsCookie(value)) continue;
    passed.push(name, value);
  }
  return passed;
}

/** Many servers give programs `X_Forwarded_For` and `X-Forwarded-For` under one name. */
function isReplaced(key: string): boolean {
  const name = key.replaceAll('_', '-');
  return NOT_PASSED.has(name) || name.startsWith('x-forwarded-');
}

function withoutOwnCookie(cookie: string): string {
  const others = cookie.split(';').filter((pair) => pair.split('=', 1)[0]?.trim() !== COOKIE);
  return others.join(';').trim();
}

function isOwnHostsCookie(cookie: string): boolean {
  const [pair = '', ...attributes] = cookie.split(';');
  // Browsers send a cookie without a name as its value alone, which then looks like a name and a value.
  const name = pair
    .replace(/^[\s=]+/, '')
    .split('=', 1)[0]
    ?.trim();
  if (name?.toLowerCase() === COOKIE.toLowerCase()) return false;
  return !attributes.some((attribute) => attribute.split('=', 1)[0]?.trim().toLowerCase() === 'domain');
}

/** The fields that `Connection` names: they belong to this connection alone. */
function connectionOptions(connection: string | undefined): ReadonlySet<string> {
  const options = (connection ?? '').split(',').map((option) => option.trim().toLowerCase());
  return new Set(options.filter((option) => !FRAMING.has(option)));
}

function* fieldsOf(rawHeaders: readonly string[]): Generator<readonly [name: string, value: string]> {
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) yield [rawHeaders[at] ?? '', rawHeaders[at + 1] ?? ''];
}

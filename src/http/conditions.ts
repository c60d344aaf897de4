import type { IncomingHttpHeaders } from 'node:http';

/** The current state of a resource. */
export interface Representation {
  /** A strong entity tag with its quotes; null if the resource has none. */
  readonly etag: string | null;
  /** The last change, without milliseconds; null if unknown. */
  readonly lastModified: Date | null;
}

/** `not_modified`: 304; `failed`: 412. */
type Verdict = 'proceed' | 'not_modified' | 'failed';

const CONDITIONS = ['if-match', 'if-none-match', 'if-unmodified-since', 'if-modified-since'] as const;

/** True if the request has a conditional header. */
export function isConditional(headers: IncomingHttpHeaders): boolean {
  return CONDITIONS.some((name) => headers[name] !== undefined);
}

/**
 * Evaluates a request's conditions in the order of RFC 9110, 13.2.2.
 *
 * @param current null if the resource does not exist
 */
export function evaluate(
  { method, headers }: { method: string; headers: IncomingHttpHeaders },
  current: Representation | null,
): Verdict {
  const isRead = method === 'GET' || method === 'HEAD';
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = headers;
  if (ifMatch !== undefined) {
    if (!current || !matchesTag(ifMatch, current.etag, { isWeak: false })) return 'failed';
  } else {
    const since = parseHttpDate(headers['if-unmodified-since']);
    if (since && current?.lastModified && current.lastModified > since) return 'failed';
  }
  if (ifNoneMatch !== undefined) {
    if (!current || !matchesTag(ifNoneMatch, current.etag, { isWeak: true })) return 'proceed';
    return isRead ? 'not_modified' : 'failed';
  }
  const since = isRead ? parseHttpDate(headers['if-modified-since']) : null;
  return since && current?.lastModified && current.lastModified <= since ? 'not_modified' : 'proceed';
}

/**
 * True if `Range` applies: only to a GET, and with `If-Range` only if its validator is current (RFC 9110, 13.1.5). A
 * date is a valid validator from one second after the last change, when the file cannot change within that second
 * again.
 */
export function isRangeWanted(
  { method, headers }: { method: string; headers: IncomingHttpHeaders },
  { etag, lastModified }: Representation,
  now = new Date(),
): boolean {
  if (method !== 'GET' || headers.range === undefined) return false;
  const given = headers['if-range'];
  if (typeof given !== 'string') return true;
  const validator = given.trim();
  if (validator.endsWith('"')) return validator === etag;
  const date = parseHttpDate(validator);
  if (!date || !lastModified) return false;
  return date.getTime() === lastModified.getTime() && now.getTime() - lastModified.getTime() >= 1_000;
}

/**
 * Whether a list of entity tags, or `*`, names the current one: by strong or weak comparison (RFC 9110, 8.8.3.2).
 *
 * @param etag the current tag, a strong one; null if the representation has none
 */
export function matchesTag(list: string, etag: string | null, { isWeak }: { isWeak: boolean }): boolean {
  if (list.trim() === '*') return true;
  const tags = list.match(/(?:W\/)?"[^"]*"/g) ?? [];
  return tags.some((tag) => (isWeak ? tag.replace(/^W\//, '') : tag) === etag);
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const FORMS = [
  // Sun, 06 Nov 1994 08:49:37 GMT
  /^[A-Z][a-z]{2}, (?<day>\d\d) (?<month>[A-Z][a-z]{2}) (?<year>\d{4}) (?<time>\d\d:\d\d:\d\d) GMT$/,
  // Sunday, 06-Nov-94 08:49:37 GMT
  /^[A-Z][a-z]{5,8}, (?<day>\d\d)-(?<month>[A-Z][a-z]{2})-(?<year>\d\d) (?<time>\d\d:\d\d:\d\d) GMT$/,
  // Sun Nov  6 08:49:37 1994
  /^[A-Z][a-z]{2} (?<month>[A-Z][a-z]{2}) (?<day>[ \d]\d) (?<time>\d\d:\d\d:\d\d) (?<year>\d{4})$/,
];

/** Parses a date in any of HTTP's three forms (RFC 9110, 5.6.7). @returns null for anything else */
export function parseHttpDate(text: string | undefined, now = new Date()): Date | null {
  const found = FORMS.map((form) => form.exec(text ?? '')).find((match) => match !== null);
  const { day = '', month = '', year = '', time = '' } = found?.groups ?? {};
  if (!MONTHS.includes(month)) return null;
  let full = Number(year);
  if (year.length === 2) {
    full += 100 * Math.floor(now.getUTCFullYear() / 100);
    // RFC 9110, 5.6.7: a two-digit year more than 50 years in the future is in the past.
    if (full > now.getUTCFullYear() + 50) full -= 100;
  }
  const iso = `${String(full).padStart(4, '0')}-${String(MONTHS.indexOf(month) + 1).padStart(2, '0')}`;
  const date = new Date(`${iso}-${day.trim().padStart(2, '0')}T${time}.000Z`);
  return Number.isNaN(date.getTime()) ? null : date;
}

/** On every answer: nothing here is to be framed, sniffed, cached or run by a browser. */
export const API_HEADERS = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
} as const;

/** For the documentation, which is a page: its own scripts and styles, and calls to this API. */
export const PAGE_HEADERS = {
  ...API_HEADERS,
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; " +
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
} as const;

const PAGES = /^\/api\/docs(\/|$)/;

/** @param route the pattern of the matched route; undefined if none matched */
export function securityHeaders(route: string | undefined): Readonly<Record<string, string>> {
  return route !== undefined && PAGES.test(route) ? PAGE_HEADERS : API_HEADERS;
}

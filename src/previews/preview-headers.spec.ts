import type { IncomingMessage } from 'node:http';
import { cookieOf } from '../http';
import { COOKIE, requestHeaders, responseHeaders } from './preview-headers';

const ORIGIN = 'https://3000-3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11.preview.example';
const VISIT = { port: 3000, clientAddress: '203.0.113.7', origin: ORIGIN, isUpgrade: false };

/** A message with these fields, a line each, as Node.js parses them. */
function message(fields: string): IncomingMessage {
  const rawHeaders: string[] = [];
  const headers: Record<string, string> = {};
  for (const line of fields.split('\n').map((each) => each.trim())) {
    if (line === '') continue;
    const [name = '', value = ''] = line.split(/: (.*)/s);
    rawHeaders.push(name, value);
    const key = name.toLowerCase();
    headers[key] = key in headers ? `${String(headers[key])}, ${value}` : value;
  }
  return { rawHeaders, headers } as unknown as IncomingMessage;
}

function pairs(raw: readonly string[]): [string, string][] {
  return raw.flatMap((name, at) => (at % 2 === 0 ? [[name, raw[at + 1] ?? ''] as [string, string]] : []));
}
const values = (raw: readonly string[], wanted: string): string[] =>
  pairs(raw).flatMap(([name, value]) => (name.toLowerCase() === wanted ? [value] : []));

describe('the header of a request to an application', () => {
  const passed = requestHeaders(
    message(`
      Host: whatever.preview.example
      Authorization: Bearer of-the-application
      Berth-Token: secret
      Berth_Token: secret
      Cookie: a=1; ${COOKIE}=secret; b="x=y"
      Connection: keep-alive, X-Hop, Content-Length
      X-Hop: 1
      TE: trailers
      X-Forwarded-For: 127.0.0.1
      X_Forwarded_For: 127.0.0.1
      X-Forwarded-Prefix: /x
      Forwarded: for=127.0.0.1
      X-Real-IP: ::1
      Upgrade: h2c
      HTTP2-Settings: x
      Expect: 100-continue
      X-Twice: 1
      X-Twice: 2
      Content-Length: 5
      Range: bytes=0-1
    `),
    VISIT,
  );

  it('must have the host of the container, and what the application is sent, in order', () => {
    expect(pairs(passed).slice(0, 7)).toEqual([
      ['Host', 'localhost:3000'],
      ['Authorization', 'Bearer of-the-application'],
      ['Cookie', 'a=1; b="x=y"'],
      ['X-Twice', '1'],
      ['X-Twice', '2'],
      ['Content-Length', '5'],
      ['Range', 'bytes=0-1'],
    ]);
  });

  it('must say where it comes from in the words of Berth alone', () => {
    const host = ORIGIN.slice('https://'.length);
    expect(pairs(passed).slice(7)).toEqual([
      ['X-Forwarded-For', '203.0.113.7'],
      ['X-Forwarded-Host', host],
      ['X-Forwarded-Proto', 'https'],
      ['Forwarded', `for=203.0.113.7;host="${host}";proto=https`],
      ['Connection', 'close'],
    ]);
    const ipv6 = requestHeaders(message(''), { ...VISIT, clientAddress: '2001:db8::1' });
    expect(values(ipv6, 'forwarded')[0]).toMatch(/^for="\[2001:db8::1\]";/);
  });

  it('must have no cookie field where only that of Berth was in it, and offer a WebSocket where one is asked for', () => {
    const headers = requestHeaders(message(`Cookie: ${COOKIE}=secret`), { ...VISIT, isUpgrade: true });
    expect(values(headers, 'cookie')).toEqual([]);
    expect(values(headers, 'connection')).toEqual(['Upgrade']);
    expect(values(headers, 'upgrade')).toEqual(['websocket']);
  });
});

describe('the header of a response to a visitor', () => {
  it('must be that of the application, without what belongs to its connection', () => {
    const answer = message(`
      Content-Type: text/html
      Connection: close, X-Hop
      X-Hop: 1
      Transfer-Encoding: chunked
      Keep-Alive: timeout=5
      ETag: "x"
    `);
    expect(pairs(responseHeaders(answer))).toEqual([
      ['Content-Type', 'text/html'],
      ['ETag', '"x"'],
    ]);
  });

  it('must set no cookie for other hosts, and none by the name of Berth', () => {
    const cookies = [
      'a=1; Path=/',
      'b=2; Domain=preview.example',
      'c=3;domain = .example',
      `${COOKIE}=x; Path=/`,
      `=${COOKIE}=x; Path=/; Secure`,
      ` = ${COOKIE}=x`,
      `=${COOKIE.toLowerCase()}`,
      `==${COOKIE}=x`,
      'd=Domain=1',
      '=e',
    ];
    const answer = message(cookies.map((cookie) => `Set-Cookie: ${cookie}`).join('\n'));
    expect(values(responseHeaders(answer), 'set-cookie')).toEqual(['a=1; Path=/', 'd=Domain=1', '=e']);
  });
});

describe("Berth's own cookie", () => {
  it.each<[string | undefined, string | null]>([
    [undefined, null],
    ['a=1', null],
    [`a=1; ${COOKIE}=x=y; b=2`, 'x=y'],
    [`x${COOKIE}=1`, null],
    [`${COOKIE}=1; ${COOKIE}=2`, null],
  ])('of %p must be %p', (cookie, value) => {
    expect(cookieOf(cookie, COOKIE)).toBe(value);
  });
});

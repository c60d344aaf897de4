import { Berth, BerthError, isBerthError } from '../src/index.ts';
import { EventParser } from '../src/server-sent-events.ts';

/** An answer, or that there is none. */
type Scripted = ScriptedAnswer | 'broken';

interface ScriptedAnswer {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Record<string, string>;
}

interface Asked {
  readonly method: string;
  readonly address: string;
  readonly headers: Headers;
}

/** A client whose requests get these answers, one after the other, and what it asked. */
function scripted(...answers: readonly Scripted[]): { berth: Berth; asked: Asked[] } {
  const asked: Asked[] = [];
  const left = [...answers];
  const answer = (address: string, { method = 'GET', headers, signal }: RequestInit = {}): Promise<Response> => {
    signal?.throwIfAborted();
    asked.push({ method, address, headers: new Headers(headers) });
    const next = left.shift();
    if (!next) throw new Error('nobody was to ask again');
    if (next === 'broken') return Promise.reject(new TypeError('fetch failed'));
    return Promise.resolve(new Response(JSON.stringify(next.body), next));
  };
  const url = 'http://berth.test/';
  return { berth: new Berth({ url, token: () => 'secret', fetch: answer as typeof fetch }), asked };
}

const refused = (status: number, code: string, headers: Record<string, string> = {}): Scripted => ({
  status,
  body: { error: 'a sentence', code, request_id: 'r-1' },
  headers,
});
const ok = { status: 200, body: { done: true } };
const soon = { 'retry-after': '0' };

describe('a request', () => {
  it('must carry the token, and ids that are no part of the path', async () => {
    const { berth, asked } = scripted(ok);
    await berth.containers.get('../tokens');
    expect(asked[0]?.address).toBe('http://berth.test/api/containers/..%2Ftokens');
    expect(asked[0]?.headers.get('authorization')).toBe('Bearer secret');
  });

  it('must patch a container without reading it, on the condition of a tag that was read', async () => {
    const tagged = { status: 200, body: { name: 'dev' }, headers: { etag: '"t"' } };
    const { berth, asked } = scripted(tagged, ok, refused(412, 'precondition_failed'), ok);
    expect(await berth.containers.getTagged('a')).toEqual({ container: { name: 'dev' }, etag: '"t"' });
    await berth.containers.update('a', { env: { A: null } }, { ifMatch: '"t"' });
    const lost = berth.containers.update('a', { name: 'n' }, { ifMatch: '"t"' });
    await expect(lost).rejects.toMatchObject({ code: 'precondition_failed' });
    await berth.containers.replaceSettings('a', { name: 'n', memory_mb: 256, cpu_shares: 500, disk_mb: 1024 });
    const told = asked.map(({ method, headers }) => [method, headers.get('content-type'), headers.get('if-match')]);
    expect(told).toEqual([
      ['GET', null, null],
      ['PATCH', 'application/merge-patch+json', '"t"'],
      ['PATCH', 'application/merge-patch+json', '"t"'],
      ['PATCH', 'application/json', null],
    ]);
  });

  it('must write a file on the condition that it is still the one that was read, or that there is none', async () => {
    const { berth, asked } = scripted(ok, ok, ok);
    await berth.files.write('a', '/f', 'text', { ifMatch: '"t"' });
    await berth.files.write('a', '/f', 'text', { ifNoneMatch: '*' });
    await berth.files.write('a', '/f', 'text');
    const told = asked.map(({ headers }) => [headers.get('if-match'), headers.get('if-none-match')]);
    expect(told).toEqual([
      ['"t"', null],
      [null, '*'],
      [null, null],
    ]);
  });

  it.each<[string, Scripted, (berth: Berth) => Promise<unknown>]>([
    ['reading, after a broken connection', 'broken', (berth) => berth.containers.get('a')],
    ['a start, which does no harm twice', refused(503, 'shutting_down', soon), (berth) => berth.containers.start('a')],
    ['a patch without a condition', 'broken', (berth) => berth.containers.update('a', { name: 'n' })],
    ['a creation, by its key', 'broken', (berth) => berth.containers.create({ image: 'sandbox' })],
    ['a command that was not begun', refused(429, 'rate_limit_exceeded', soon), (berth) => berth.exec('a', ['ls'])],
    ['a deletion that was not begun', refused(503, 'database_busy', soon), (berth) => berth.containers.delete('a')],
    ['reading through a proxy that has lost the server', { status: 502, body: '' }, (berth) => berth.account.me()],
  ])('must be repeated: %s', async (_, fault, ask) => {
    const { berth, asked } = scripted(fault, ok);
    await ask(berth);
    expect(asked).toHaveLength(2);
    expect(asked[1]).toEqual(asked[0]);
  });

  it.each<[string, Scripted, (berth: Berth) => Promise<unknown>]>([
    ['a command that may have run', 'broken', (berth) => berth.exec('a', ['ls'])],
    ['a deletion that may have been done', 'broken', (berth) => berth.containers.delete('a')],
    ['a patch on a condition', 'broken', (berth) => berth.containers.update('a', { name: 'n' }, { ifMatch: '"t"' })],
    [
      'a file that is written on a condition',
      'broken',
      (berth) => berth.files.write('a', '/f', '', { ifNoneMatch: '*' }),
    ],
    ['a token that may be there', refused(503, 'shutting_down'), (berth) => berth.tokens.create({ name: 'a' })],
    ['what is refused for good', refused(409, 'name_taken'), (berth) => berth.containers.create({ image: 'sandbox' })],
    ['what is to wait for long', refused(429, 'rate_limit_exceeded', { 'retry-after': '900' }), (b) => b.account.me()],
  ])('must not be repeated: %s', async (_, fault, ask) => {
    const { berth, asked } = scripted(fault, ok);
    await expect(ask(berth)).rejects.toBeInstanceOf(BerthError);
    expect(asked).toHaveLength(1);
  });

  it('must be repeated three times at most, with the same idempotency key; another call has another', async () => {
    const busy = refused(429, 'rate_limit_exceeded', soon);
    const { berth, asked } = scripted(busy, busy, busy, busy, ok);
    await expect(berth.containers.create({ image: 'sandbox' })).rejects.toThrow('a sentence');
    await berth.containers.create({ image: 'sandbox' });
    const keys = asked.map(({ headers }) => headers.get('idempotency-key'));
    expect(keys).toHaveLength(5);
    expect(new Set(keys.slice(0, 4)).size).toBe(1);
    expect(keys[4]).not.toBe(keys[0]);
  });

  it('must end with the reason of its signal, also while it waits for another try', async () => {
    const waiting = new AbortController();
    const { berth, asked } = scripted(refused(429, 'rate_limit_exceeded', { 'retry-after': '50' }));
    const asking = berth.account.me({ signal: waiting.signal });
    setImmediate(() => waiting.abort(new Error('enough')));
    await expect(asking).rejects.toThrow('enough');
    await expect(berth.account.me({ signal: waiting.signal })).rejects.toThrow('enough');
    expect(asked).toHaveLength(1);
  });
});

describe('an error', () => {
  async function caught(answer: Scripted): Promise<unknown> {
    return scripted(answer)
      .berth.containers.delete('a')
      .catch((error: unknown) => error);
  }

  it('must be told by its code, with what that code says', async () => {
    const body = {
      error: 'too many',
      code: 'container_limit_reached',
      request_id: 'r',
      current: 5,
      limit: 5,
      tier: 'free',
    };
    const error = await caught({ status: 403, body });
    if (!isBerthError(error, 'name_taken', 'container_limit_reached')) throw error;
    expect(error).toMatchObject({ status: 403, message: 'too many', requestId: 'r', details: [] });
    expect(error.fields).toEqual({ current: 5, limit: 5, tier: 'free' });
    expect(isBerthError(error, 'name_taken')).toBe(false);
    expect(isBerthError(new Error('name_taken'))).toBe(false);
  });

  it('must say so where there was no answer, and where it was not of Berth', async () => {
    expect(await caught('broken')).toMatchObject({ status: 0, code: 'connection_failed' });
    expect(await caught({ status: 404, body: '<html>' })).toMatchObject({ status: 404, code: 'unexpected_answer' });
  });
});

describe('a list', () => {
  it('must be read page by page, as far as it is needed', async () => {
    const page = (names: string[], next_cursor: string | null): Scripted => ({
      status: 200,
      body: { containers: names.map((name) => ({ name })), next_cursor, event_seq: 1 },
    });
    const { berth, asked } = scripted(page(['a', 'b'], 'more'), page(['c'], null));
    const seen: string[] = [];
    for await (const { name } of berth.containers.list({ labels: ['team:core', 'stage'] })) {
      seen.push(name);
      if (name === 'b') expect(asked).toHaveLength(1);
    }
    expect(seen).toEqual(['a', 'b', 'c']);
    expect(asked[1]?.address).toBe('http://berth.test/api/containers?label=team%3Acore&label=stage&cursor=more');
  });
});

describe('Server-Sent Events', () => {
  const text =
    'retry: 2000\r\nid: 7\r\n\r\n: comment\r\nid: 8\r\nevent: output\r\ndata: a\r\ndata: b\r\n\r\ndata:c\n\n';
  const events = [
    { event: 'output', data: 'a\nb', id: '8' },
    { event: 'message', data: 'c', id: '8' },
  ];

  it('must be the same wherever the stream is cut', () => {
    for (let cut = 0; cut <= text.length; cut++) {
      const parser = new EventParser();
      expect([...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))]).toEqual(events);
    }
  });
});

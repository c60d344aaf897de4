import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { eventually } from '../../../test/support/eventually.ts';
import { Berth, type ContainerWatch, isBerthError, UnreachableError } from '../src/index.ts';

/** What a request that is not repeated rejects with. */
async function refusalOf(url: string): Promise<UnreachableError> {
  const berth = new Berth({ url, token: 'secret', retries: 0 });
  const error: unknown = await berth.account.me().catch((refused: unknown) => refused);
  expect(isBerthError(error, 'connection_failed')).toBe(true);
  expect(error).toBeInstanceOf(UnreachableError);
  return error as UnreachableError;
}

async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
}

describe('a server that does not answer', () => {
  it('must be named, with the reason', async () => {
    const server = createServer();
    const host = await listening(server);
    await new Promise((resolve) => server.close(resolve));
    expect(await refusalOf(`http://${host}/below/`)).toMatchObject({
      status: 0,
      host,
      reason: 'ECONNREFUSED',
      message: `${host} could not be reached: connect ECONNREFUSED ${host}`,
    });
    const unknown = await refusalOf('http://berth.invalid');
    expect(unknown).toMatchObject({ host: 'berth.invalid', reason: expect.stringMatching(/^E[A-Z_]+$/) as string });
    expect(unknown.message).toMatch(/^berth\.invalid could not be reached: getaddrinfo E[A-Z_]+ berth\.invalid$/);
  });

  it('must be named where it breaks off in the middle', async () => {
    const server = createServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' });
      response.write('{', () => response.destroy());
    });
    const host = await listening(server);
    const error = await refusalOf(`http://${host}`);
    expect(error).toMatchObject({ host, reason: expect.any(String) as string });
    expect(error.message).toMatch(new RegExp(`^${host} broke off: .`));
    await new Promise((resolve) => server.close(resolve));
  });
});

describe('a watch', () => {
  let watch: ContainerWatch | undefined;

  afterEach(() => {
    watch?.close();
    Reflect.deleteProperty(globalThis, 'location');
  });

  /** As `fetch` is in a browser. @param allows whether the server answers at all, and whether it allows that page */
  function browser(page: string, server: { isThere: boolean; isAllowed: boolean }): typeof fetch {
    Object.defineProperty(globalThis, 'location', { value: { origin: page }, configurable: true });
    const answer: typeof fetch = (_address, { mode } = {}) => {
      const isAnswered = server.isThere && (server.isAllowed || mode === 'no-cors');
      if (!isAnswered) return Promise.reject(new TypeError('Failed to fetch'));
      const list = { containers: [], count: 0, limit: 5, next_cursor: null, event_seq: 7 };
      return Promise.resolve(mode === 'no-cors' ? Response.error() : Response.json(list));
    };
    return answer;
  }

  it.each([
    ['CORS', true, /^berth\.test is there, but does not allow .* CORS_ORIGINS must have https:\/\/page\.test$/],
    [null, false, /^berth\.test could not be reached$/],
  ])('must say while it connects why it cannot: %s', async (reason, isThere, message) => {
    const server = { isThere, isAllowed: false };
    const fetch = browser('https://page.test', server);
    watch = new Berth({ url: 'https://berth.test', token: 'secret', retries: 0, fetch }).watch();
    const { getSnapshot } = watch;
    let told = 0;
    watch.subscribe(() => (told += 1));
    await eventually(() => expect(getSnapshot().error).toMatchObject({ code: 'connection_failed', reason }));
    expect(getSnapshot().state).toBe('connecting');
    expect(getSnapshot().error?.message).toMatch(message);
    expect(told).toBeGreaterThan(0);
    // It goes on trying, and says no more once it may.
    Object.assign(server, { isThere: true, isAllowed: true });
    await watch.ready;
    expect(getSnapshot()).toMatchObject({ error: null, seq: 7 });
  });
});

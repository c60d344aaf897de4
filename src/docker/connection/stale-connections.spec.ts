import { Agent, createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { againIfStale, noticeStale } from './stale-connections';

describe('a connection that its peer closed', () => {
  let server: Server;
  let agent: Agent;
  let asked: string[];
  const signal = new AbortController().signal;

  beforeEach(async () => {
    asked = [];
    server = createServer((incoming, answer) => {
      asked.push(incoming.method ?? '');
      incoming.resume();
      answer.end('{}');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    agent = noticeStale(new Agent({ keepAlive: true }));
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    agent.destroy();
    await new Promise((resolve) => server.close(resolve));
  });

  function call(method: string, path: string): Promise<number | undefined> {
    const { port } = server.address() as AddressInfo;
    return new Promise((resolve, reject) => {
      request({ agent, port, host: '127.0.0.1', method, path }, (response) => {
        response.resume().once('end', () => resolve(response.statusCode));
      })
        .once('error', reject)
        .end();
    });
  }

  /** Leaves connections that the server has closed after so long, of which this process has not read yet. */
  async function closedAfter(idleMs: number): Promise<void> {
    await Promise.all([1, 2, 3].map(() => call('GET', '/_ping')));
    // An agent keeps a connection a turn after its answer.
    await new Promise((resolve) => setImmediate(resolve));
    asked = [];
    const now = performance.now.bind(performance);
    jest.spyOn(performance, 'now').mockImplementation(() => now() + idleMs);
    server.closeAllConnections();
  }

  it.each([
    ['GET', '/containers/x/json'],
    ['DELETE', '/volumes/x'],
    ['POST', '/volumes/create?Name=x'],
    ['POST', '/containers/create?name=x'],
    ['POST', '/containers/x/start'],
    ['POST', '/containers/x/exec'],
  ])('must cost %s %s nothing where it was idle', async (method, path) => {
    await closedAfter(2_000);
    expect(await againIfStale(signal, () => call(method, path))).toBe(200);
    expect(asked).toEqual([method]);
  });

  it.each([
    ['that starts a command', '/exec/x/start', 2_000],
    ['that is not known to be harmless twice', '/networks/create', 2_000],
    ['on a connection that was just used', '/containers/x/start', 0],
  ])('must fail a call %s', async (_what, path, idleMs) => {
    await closedAfter(idleMs);
    await expect(againIfStale(signal, () => call('POST', path))).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(asked).toEqual([]);
  });

  it('must not bring back a call that nobody waits for, nor be blamed for an answer', async () => {
    await closedAfter(2_000);
    await expect(againIfStale(AbortSignal.abort(), () => call('GET', '/info'))).rejects.toThrow();
    const refused = jest.fn(() => Promise.reject(new Error('refused')));
    await expect(againIfStale(signal, refused)).rejects.toThrow('refused');
    expect(refused).toHaveBeenCalledTimes(1);
  });
});

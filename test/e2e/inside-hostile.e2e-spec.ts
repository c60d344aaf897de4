import { performance } from 'node:perf_hooks';
import { pack } from 'tar-stream';
import { ApiClient, type NewContainer } from '../support/clients/api-client';
import { Berth, type TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { RealDocker } from '../support/docker/real-docker';

jest.setTimeout(240_000);

const MB = 1024 * 1024;

/** As long as the server may be kept from anything else, on a machine with too much to do. */
const LONGEST_TURN_MS = 5_000;

describe('a container whose files, or an archive, mean harm', () => {
  const real = new RealDocker();
  const instance = `test-hostile-${String(process.pid)}`;
  let berth: Berth;
  let user: TestUser;
  let container: NewContainer;

  beforeAll(async () => {
    berth = await Berth.start({ environment: { INSTANCE_ID: instance } });
    user = await berth.user('pro', ['read', 'write', 'exec']);
    container = await user.api.running();
  });

  afterAll(async () => {
    await berth.stop();
    await real.removeInstance(instance);
  });

  const sh = (script: string): Promise<string> => real.exec(container.id, ['ash', '-c', script], { user: '0' });
  /** Whether the supervisor has something open. */
  const holds = async (path: string): Promise<boolean> => (await sh('ls -l /proc/1/fd')).includes(path);

  function call(method: string, path: string, options: Partial<RequestInit> & { token?: string } = {}) {
    const { token = user.token, ...init } = options;
    const headers = { authorization: `Bearer ${token}`, ...(init.headers as object) };
    return fetch(`${berth.url}/api/containers/${container.db_id}/${path}`, { method, ...init, headers });
  }
  async function codeOf(answer: Response): Promise<[number, string]> {
    return [answer.status, ((await answer.json()) as { code: string }).code];
  }

  it('must be refused an archive with endless or impossible headers, at once, and keep its places', async () => {
    const large = await paxArchive({ comment: 'c'.repeat(28 * MB) });
    const began = performance.now();
    const [turn, refused] = await longestTurnOf(async () =>
      codeOf(await call('PUT', 'archive?path=/tmp/a', { body: large })),
    );
    expect(refused).toEqual([400, 'invalid_parameters']);
    expect(turn).toBeLessThan(LONGEST_TURN_MS);
    const sizes = ['-5', 'abc', 'Infinity', '1e999', '2.5'];
    const all = Array.from({ length: 20 }, async (_each, index) => {
      const archive = await paxArchive({ size: sizes[index % sizes.length] ?? '' });
      return codeOf(await call('PUT', 'archive?path=/tmp/a', { body: archive }));
    });
    const answers = await Promise.all(all);
    expect(answers.filter(([status]) => status !== 429)).not.toEqual([]);
    for (const answer of answers) {
      expect([JSON.stringify([400, 'invalid_parameters']), '[429,"too_many_transfers"]']).toContain(
        JSON.stringify(answer),
      );
    }
    expect(performance.now() - began).toBeLessThan(60_000);
    await eventually(async () => expect((await call('GET', 'files?path=/etc/passwd')).status).toBe(200));
    await eventually(async () => expect(await sh('ls -A /tmp/a')).toBe(''));
  });

  it('must not have its sizes believed: no length is promised that cannot be', async () => {
    await sh('truncate -s 4398046511104 /tmp/sparse; echo begins | dd of=/tmp/sparse conv=notrunc');
    for (const method of ['GET', 'HEAD']) {
      const answer = await call(method, 'files?path=/tmp/sparse');
      expect([method, answer.status, Number(answer.headers.get('content-length')) < MB]).toEqual([method, 413, true]);
      await answer.text();
    }
    const part = await call('GET', 'files?path=/tmp/sparse', { headers: { range: 'bytes=0-3' } });
    expect([part.status, await part.text()]).toEqual([206, 'begi']);
    await sh('touch -d @99999999999 /tmp/late; mkdir /tmp/names; cd /tmp/names; touch "$(printf "\\377\\nx")" "..."');
    const { length } = (await (await call('GET', 'files/list?path=/tmp')).json()) as unknown[];
    expect(length).toBeGreaterThanOrEqual(3);
    expect(await (await call('GET', 'files/list?path=/tmp/names')).json()).toMatchObject([
      { name: '...' },
      { path_encoded: '/tmp/names/%FF%0Ax' },
    ]);
  });

  it('must hold up no request that waits for what it never gets', async () => {
    await sh('mkfifo /tmp/fifo; ln -s fifo /tmp/link; ln -s /dev/tty /tmp/tty');
    for (const path of ['/tmp/fifo', '/tmp/link', '/tmp/tty', '/dev/zero']) {
      expect([path, await codeOf(await call('GET', `files?path=${path}`))]).toEqual([path, [409, 'path_not_file']]);
      const written = await codeOf(await call('PUT', `files?path=${path}`, { body: 'x' }));
      expect([path, written[0] >= 400]).toEqual([path, true]);
    }
    expect((await call('GET', 'archive?path=/tmp/names')).status).toBe(200);
  });

  it('must end what a client has waited for that goes, or whose token is revoked', async () => {
    await sh('truncate -s 64M /tmp/large');
    const leaving = new AbortController();
    const left = await call('GET', 'files?path=/tmp/large', { signal: leaving.signal });
    expect([left.status, await holds('/tmp/large')]).toEqual([200, true]);
    leaving.abort();
    await eventually(async () => expect(await holds('/tmp/large')).toBe(false));
    const { body } = await user.api.call('POST', '/api/tokens', { name: 'brief', scopes: ['exec'] });
    const brief = new ApiClient(berth.url, String(body['token']));
    const cut = await call('GET', 'files?path=/tmp/large', { token: brief.token });
    const slow = new ReadableStream<Uint8Array>({ start: (sink) => sink.enqueue(new Uint8Array(10)) });
    const sending = { body: slow, duplex: 'half', token: brief.token };
    const refused = call('PUT', 'files?path=/tmp/slow', sending as Partial<RequestInit>);
    await eventually(async () => expect(await sh('ls -A /tmp')).toContain('.berth-upload-'));
    expect((await user.api.call('DELETE', `/api/tokens/${String(body['id'])}`)).status).toBe(200);
    expect(await codeOf(await refused)).toEqual([401, 'unauthorized']);
    await expect(cut.arrayBuffer()).rejects.toThrow('terminated');
    await eventually(async () => expect(await holds('/tmp/large')).toBe(false));
    await eventually(async () => expect(await sh('ls -A /tmp')).not.toContain('berth'));
  });

  it('must give a place to the next when a transfer is over, and no more than sixteen', async () => {
    await sh('truncate -s 64M /tmp/held');
    const held = await Promise.all(Array.from({ length: 20 }, () => call('GET', 'files?path=/tmp/held')));
    const refused = held.filter(({ status }) => status === 429);
    expect([refused.length, held.filter(({ status }) => status === 200).length]).toEqual([4, 16]);
    for (const answer of held) await answer.body?.cancel();
    await eventually(async () => expect((await call('GET', 'files?path=/etc/passwd')).status).toBe(200));
  });
});

/** @returns the longest time in which this process did nothing else, in milliseconds, and the outcome of `work` */
async function longestTurnOf<T>(work: () => Promise<T>): Promise<[number, T]> {
  let longest = 0;
  let last = performance.now();
  const note = (): void => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  };
  const watch = setInterval(note, 10);
  try {
    const outcome = await work();
    note();
    return [longest, outcome];
  } finally {
    clearInterval(watch);
  }
}

/** A file behind an extended header. */
async function paxArchive(values: Readonly<Record<string, string>>): Promise<Uint8Array<ArrayBuffer>> {
  const archive = pack();
  archive.entry({ name: 'first' }, 'x');
  archive.entry({ name: 'second', pax: values } as object as { name: string }, 'content');
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive) parts.push(part);
  return new Uint8Array(Buffer.concat(parts));
}

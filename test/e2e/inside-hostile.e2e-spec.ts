import { performance } from 'node:perf_hooks';
import { pack } from 'tar-stream';
import type { NewContainer } from '../support/api-client';
import { Berth, type TestUser } from '../support/berth';
import { eventually } from '../support/eventually';
import { RealDocker } from '../support/real-docker';

jest.setTimeout(240_000);

const MB = 1024 * 1024;

/** As long as the server may be kept from anything else, on a machine with too much to do. */
const LONGEST_TURN_MS = 5_000;

describe('a container whose programs, or an archive, mean harm', () => {
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

  const sh = (script: string): Promise<string> => real.exec(container.id, ['sh', '-c', script], { user: '0' });

  function call(method: string, path: string, body?: Buffer): Promise<Response> {
    return fetch(`${berth.url}/api/containers/${container.db_id}/${path}`, {
      method,
      headers: { authorization: `Bearer ${user.token}` },
      ...(body && { body: new Uint8Array(body) }),
    });
  }
  async function codeOf(answer: Response): Promise<[number, string]> {
    return [answer.status, ((await answer.json()) as { code: string }).code];
  }

  it('must be refused an archive with endless or impossible headers, at once, and keep its places', async () => {
    const large = await paxArchive({ comment: 'c'.repeat(28 * MB) });
    const began = performance.now();
    const [turn, refused] = await longestTurnOf(async () => codeOf(await call('PUT', 'archive?path=/tmp/a', large)));
    expect(refused).toEqual([400, 'invalid_parameters']);
    expect(turn).toBeLessThan(LONGEST_TURN_MS);
    const sizes = ['-5', 'abc', 'Infinity', '1e999', '2.5'];
    const all = Array.from({ length: 20 }, async (_each, index) => {
      const archive = await paxArchive({ size: sizes[index % sizes.length] ?? '' });
      return codeOf(await call('PUT', 'archive?path=/tmp/a', archive));
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
async function paxArchive(values: Readonly<Record<string, string>>): Promise<Buffer> {
  const archive = pack();
  archive.entry({ name: 'first' }, 'x');
  archive.entry({ name: 'second', pax: values } as object as { name: string }, 'content');
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive) parts.push(part);
  return Buffer.concat(parts);
}

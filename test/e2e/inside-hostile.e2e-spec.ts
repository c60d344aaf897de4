import { performance } from 'node:perf_hooks';
import { pack } from 'tar-stream';
import { SMALL } from '../../src/docker/files/scripts';
import { ApiClient, type NewContainer } from '../support/clients/api-client';
import { Berth, type TestUser } from '../support/servers/berth';
import { inBoth, inMore, IS_MORE, onlyQuick as it } from '../support/extent';
import { eventually } from '../support/eventually';
import { RealDocker } from '../support/docker/real-docker';

jest.setTimeout(240_000);

const MB = 1024 * 1024;

/** As long as the server may be kept from anything else, on a machine with too much to do. */
const LONGEST_TURN_MS = 5_000;

const SHELL_WITH_FUNCTIONS = `#!/bin/ash
script=$2; shift 2
exec ash -c "$(cat /usr/local/hostile/functions 2>/dev/null)
$script" "$@"`;

/** Those that were opened ahead have the shell, and the functions, of before. */
const END_SESSIONS = `for f in /proc/[0-9]*; do
  case $(tr '\\0' ' ' <$f/cmdline) in *"BERTH_AHEA"'D'*) kill -9 \${f#/proc/} ;; esac
done 2>/dev/null; true`;

/** In `npm test`, GNU's programs represent both. */
const IMAGES = [IS_MORE ? 'busybox' : 'GNU'];

describe('a container whose programs, or an archive, mean harm', () => {
  const real = new RealDocker();
  const instance = `test-hostile-${String(process.pid)}`;
  let berth: Berth;
  let user: TestUser;
  let container: NewContainer;
  /** Of Debian's programs, and of busybox's. */
  let containers: Readonly<Record<string, NewContainer>>;

  beforeAll(async () => {
    berth = await Berth.start({ environment: { INSTANCE_ID: instance } });
    user = await berth.user('pro', ['read', 'write', 'exec']);
    const image = process.env['TEST_SANDBOX_IMAGE'] ?? 'berth/sandbox:latest';
    container = await user.api.running({ custom_image: image });
    containers = { GNU: container, ...(IS_MORE && { busybox: await user.api.running() }) };
  });

  afterEach(async () => {
    const remove = 'rm -rf /usr/local/sbin/* /usr/local/hostile';
    await Promise.all(Object.values(containers).map(({ id }) => root(id, remove)));
    container = containers['GNU'] ?? container;
  });

  afterAll(async () => {
    await berth.stop();
    await real.removeInstance(instance);
  });

  const root = (id: string, script: string): Promise<string> =>
    real.exec(id, [id === containers['busybox']?.id ? 'ash' : 'bash', '-c', `PATH=/usr/bin:/bin; ${script}`], {
      user: '0',
    });
  const sh = (script: string): Promise<string> => root(container.id, script);

  /** Puts a program in the place of one of the image's. The shell of busybox prefers its own to any file. */
  async function replace(program: string, script: string): Promise<void> {
    if (container === containers['busybox']) {
      await write('/usr/local/hostile/functions', `${program}() {\n${script}\n}`, '>>');
      await write('/usr/local/hostile/sh', SHELL_WITH_FUNCTIONS);
      await sh('cp /usr/local/hostile/sh /usr/local/hostile/new && mv /usr/local/hostile/new /bin/sh');
      await sh(END_SESSIONS);
    } else {
      await write(`/usr/local/sbin/${program}`, `#!/bin/sh\n${script}`);
    }
  }
  async function write(path: string, text: string, how = '>'): Promise<void> {
    await sh(`mkdir -p $(dirname ${path}); cat ${how}${path} <<'END'\n${text}\nEND\nchmod 755 ${path}`);
  }
  const running = (program: string): Promise<number> => runningIn(container, program);
  /**
   * How many processes of a container have this in their command line, besides idle sessions: theirs has the functions
   * of the shell in its place.
   */
  async function runningIn({ id }: NewContainer, program: string): Promise<number> {
    // One program for all processes: this is asked often.
    const seen = await root(id, 'head -c 100000 /proc/[0-9]*/cmdline 2>/dev/null');
    const lines = seen.split(/^==> .* <==$/m).map((line) => line.replaceAll('\0', ' '));
    return lines.filter((line) => line.includes(program) && !line.includes('eval "$BERTH_AHEAD"')).length;
  }
  /** How many of Berth's programs have this file open: by their markers, as their children have it too. */
  async function readers(path: string): Promise<number> {
    const found = await root(
      container.id,
      `ls -l /proc/[0-9]*/fd/3 2>/dev/null | sed -n 's|.* \\(/proc/[0-9]*\\)/fd/3 -> ${path}$|\\1/environ|p' |
        xargs -r cat 2>/dev/null | tr '\\0' '\\n' | grep '^BERTH_SESSION=' | sort -u | wc -l`,
    );
    return Number(found);
  }
  const isGone = (program: string): Promise<void> =>
    eventually(async () => expect(await running(program)).toBe(0), { timeoutMs: 60_000 });

  function call(method: string, path: string, options: Partial<RequestInit> & { token?: string } = {}) {
    const { token = user.token, ...init } = options;
    const headers = { authorization: `Bearer ${token}`, ...(init.headers as object) };
    return fetch(`${berth.url}/api/containers/${container.db_id}/${path}`, { method, ...init, headers });
  }
  async function codeOf(answer: Response): Promise<[number, string]> {
    return [answer.status, ((await answer.json()) as { code: string }).code];
  }

  it('must be refused an archive with endless or impossible headers, at once, and keep its places', async () => {
    const large = await paxArchive({ comment: 'c'.repeat(8 * MB) });
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
  inBoth.each(IMAGES)('must send a mebibyte at most of a file without a size, and end, with %s', async (name) => {
    container = containers[name] ?? container;
    await replace('head', 'exec yes flood-head');
    const answer = await call('GET', 'files?path=/proc/version');
    expect([answer.status, (await answer.arrayBuffer()).byteLength]).toEqual([200, MB]);
    await isGone('flood-head');
  });

  it('must end what a client has waited for that goes, or whose token is revoked', async () => {
    await replace('head', 'exec sleep 7301');
    const leaving = new AbortController();
    const left = call('GET', 'files?path=/proc/version', { signal: leaving.signal }).catch(() => 'left');
    await eventually(async () => expect(await running('sleep 7301')).toBe(1));
    leaving.abort();
    expect(await left).toBe('left');
    await isGone('sleep 7301');
    await replace('find', 'exec sleep 7302');
    const listing = new AbortController();
    const listed = call('GET', 'files/list?path=/', { signal: listing.signal }).catch(() => 'left');
    await eventually(async () => expect(await running('sleep 7302')).toBe(1));
    listing.abort();
    expect(await listed).toBe('left');
    await isGone('sleep 7302');
    await replace('mkdir', 'exec sleep 7301');
    const { body } = await user.api.call('POST', '/api/tokens', { name: 'brief', scopes: ['exec'] });
    const brief = new ApiClient(berth.url, String(body['token']));
    const refused = call('POST', 'files/mkdir?path=/tmp/made', { token: brief.token });
    await eventually(async () => expect(await running('sleep 7301')).toBe(1));
    expect((await user.api.call('DELETE', `/api/tokens/${String(body['id'])}`)).status).toBe(200);
    expect(await codeOf(await refused)).toEqual([401, 'unauthorized']);
    await isGone('sleep 7301');
  });

  inBoth.each(IMAGES)('must be ended, and counted, while it goes on after its result, with %s', async (name) => {
    container = containers[name] ?? container;
    // Berth has small files read by `exec dd`, which no function of a shell replaces.
    const digits = name === 'busybox' ? 2 * SMALL : 10;
    const zeros = `printf %0${String(digits)}d 0`;
    await sh(`${zeros} >/tmp/ten; chmod 666 /tmp/ten`);
    await replace('dd', `${zeros}; while :; do echo; sleep 1; echo trickle-dd >/dev/null; done`);
    let most = 0;
    let [sent, refused] = [0, 0];
    for (let round = 0; round < 2; round += 1) {
      const answers = await Promise.all(Array.from({ length: 20 }, () => call('GET', 'files?path=/tmp/ten')));
      most = Math.max(most, await readers('/tmp/ten'));
      for (const answer of answers) {
        if (answer.status === 200) sent += (await answer.text()) === '0'.repeat(digits) ? 1 : 0;
        else refused += (await answer.text()).includes('too_many_transfers') ? 1 : 0;
      }
    }
    expect(sent + refused).toBe(40);
    expect(refused).toBeGreaterThanOrEqual(4);
    expect(most).toBeLessThanOrEqual(16);
    await eventually(async () => expect(await readers('/tmp/ten')).toBe(0), { timeoutMs: 60_000 });
    await replace('dd', 'exec yes flood-dd');
    const flood = 'flood-dd\n'.repeat(digits).slice(0, digits);
    expect(await (await call('GET', 'files?path=/tmp/ten')).text()).toBe(flood);
    await isGone('flood-dd');
    await sh('rm -f /usr/local/sbin/dd /usr/local/hostile/functions');
    await replace('mv', 'PATH=/usr/bin:/bin command mv "$@"; (sleep 1; exec yes flood-mv) &');
    expect((await call('PUT', 'files?path=/tmp/ten', { body: 'ten' })).status).toBe(200);
    await isGone('flood-mv');
    expect(await sh('cat /tmp/ten; ls -A /tmp | grep berth')).toBe('ten');
    expect((await call('GET', 'files?path=/tmp/ten')).status).toBe(200);
  });

  it('must be refused where its programs write without an end what is no file', async () => {
    await replace('find', 'exec yes -- "-rw-r--r-- 1 1 ./flood/"');
    expect(await codeOf(await call('GET', 'files/list?path=/'))).toEqual([422, 'tools_failed']);
    await isGone('./flood');
    await replace('tar', 'exec yes flood-tar >&2');
    expect(await codeOf(await call('GET', 'archive?path=/home/user'))).toEqual([422, 'tools_failed']);
    await isGone('flood-tar');
    await replace('tar', 'exec yes flood-tar');
    const leaving = new AbortController();
    const endless = await call('GET', 'archive?path=/home/user', { signal: leaving.signal });
    let bytes = 0;
    for await (const part of endless.body as unknown as AsyncIterable<Uint8Array>) {
      bytes += part.length;
      if (bytes > 4 * MB) break;
    }
    leaving.abort();
    await isGone('flood-tar');
  });

  it('must not have its sizes believed: no length is promised that cannot be', async () => {
    await replace('stat', 'echo "-rw-r--r-- 9007199254740991 1 x"');
    for (const method of ['GET', 'HEAD']) {
      const answer = await call(method, 'files?path=/etc/passwd');
      expect([method, answer.status, Number(answer.headers.get('content-length')) < MB]).toEqual([method, 413, true]);
      await answer.text();
    }
    const part = await call('GET', 'files?path=/etc/passwd', { headers: { range: 'bytes=0-3' } });
    expect([part.status, await part.text()]).toEqual([206, 'root']);
  });

  // The end of a file that is shorter is found out by its silence, which takes a minute.
  inMore('must be cut off where they print less than they say', async () => {
    await replace('stat', 'echo "-rw-r--r-- 1000000 1 x"');
    const cut = await call('GET', 'files?path=/etc/passwd');
    expect(cut.headers.get('content-length')).toBe('1000000');
    await expect(cut.arrayBuffer()).rejects.toThrow('terminated');
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

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { pack } from 'tar-stream';
import type { ApiClient, NewContainer } from '../support/clients/api-client';
import { BerthProcess } from '../support/servers/berth-process';
import { eventually } from '../support/eventually';
import { IS_SAMPLE } from '../support/extent';
import { RealDocker } from '../support/docker/real-docker';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';

jest.setTimeout(600_000);

const MB = 1024 * 1024;
/** A gigabyte; in a sample still several times what it may add to the server's memory. */
const LARGE_MB = IS_SAMPLE ? 320 : 1024;
const FLAT_MB = 96;
/** Longer than any request may take whose route does not watch its body, and the server's look at that. */
const BEYOND_DEADLINE_MS = 75_000;

/** Shorter than the silence after which the server gives up any download. */
const SILENCE_MS = 30_000;

describe('large and slow files of a gVisor container', () => {
  const real = new RealDocker();
  const instance = `test-large-files-${String(process.pid)}`;
  let database: TestDatabase;
  let berth: BerthProcess;
  let api: ApiClient;
  let container: NewContainer;

  beforeAll(async () => {
    database = await openTestDatabase();
    berth = new BerthProcess({ DATABASE_URL: database.url, INSTANCE_ID: instance, FILE_SIZE_LIMIT_MB: '1024' });
    await berth.start();
    api = await berth.user();
    container = await api.running({ memory_mb: 1024, disk_mb: 4096 });
  });

  afterAll(async () => {
    await berth.stop();
    await real.removeInstance(instance);
    await database.drop();
  });

  const sh = (script: string): Promise<string> => real.exec(container.id, ['sh', '-c', script]);

  function open(method: string, path: string, headers: Record<string, string | number> = {}): ClientRequest {
    const { hostname, port } = new URL(berth.url);
    const request = httpRequest({
      hostname,
      port,
      method,
      path: `/api/containers/${container.db_id}/${path}`,
      agent: false,
      headers: { authorization: `Bearer ${api.token}`, ...headers },
    });
    // A server that is killed, or lets go, breaks it: the request, or what is left of it once it is answered.
    request.on('socket', (socket) => socket.on('error', () => undefined));
    return request.on('error', () => undefined);
  }

  async function answerOf(request: ClientRequest): Promise<IncomingMessage> {
    const [answer] = (await once(request, 'response')) as [IncomingMessage];
    return answer.on('error', () => undefined);
  }

  async function write(target: ClientRequest, chunk: Buffer): Promise<void> {
    if (!target.write(chunk)) await once(target, 'drain');
  }

  it('must be cut off as soon as they become shorter', async () => {
    await sh('truncate -s 512M /home/user/shrinks');
    const download = await answerOf(open('GET', 'files?path=/home/user/shrinks').end());
    expect([download.statusCode, download.headers['content-length']]).toEqual([200, String(512 * MB)]);
    // Nothing reads yet, so the program in the container waits.
    await sh(': > /home/user/shrinks');
    const closed = new Promise((resolve) => download.resume().once('close', resolve));
    await Promise.race([
      closed,
      delay(SILENCE_MS, undefined, { ref: false }).then(() => Promise.reject(new Error('it is not cut off'))),
    ]);
    expect(download.complete).toBe(false);
  });

  it('must come and go with flat memory, as files and in archives', async () => {
    const before = await berth.peakMemoryMb();
    const chunk = randomBytes(MB);
    const sent = createHash('sha256');
    const sending = open('PUT', 'files?path=/home/user/large', { 'content-length': LARGE_MB * MB });
    for (let mb = 0; mb < LARGE_MB; mb += 1) {
      sent.update(chunk);
      await write(sending, chunk);
    }
    const response = answerOf(sending);
    sending.end();
    const written = await response;
    expect(written.resume().statusCode).toBe(201);
    const expected = sent.digest('hex');
    for (const path of ['files?path=/home/user/large', 'archive?path=/home/user']) {
      const reading = open('GET', path);
      reading.end();
      const received = createHash('sha256');
      let bytes = 0;
      for await (const part of (await answerOf(reading)) as AsyncIterable<Buffer>) {
        bytes += part.length;
        received.update(part);
      }
      expect(bytes).toBeGreaterThanOrEqual(LARGE_MB * MB);
      if (path.startsWith('files')) expect(received.digest('hex')).toBe(expected);
    }
    await sh('rm /home/user/large');
    const archive = pack();
    const unpacking = open('PUT', 'archive?path=/home/user/unpacked');
    const unpacked = answerOf(unpacking);
    archive.pipe(unpacking);
    const entry = archive.entry({ name: 'large', size: (LARGE_MB - 24) * MB });
    for (let mb = 0; mb < LARGE_MB - 24; mb += 1) if (!entry.write(chunk)) await once(entry, 'drain');
    entry.end();
    archive.finalize();
    expect((await unpacked).resume().statusCode).toBe(200);
    expect(await sh('stat -c %s /home/user/unpacked/large; rm -r /home/user/unpacked')).toBe(
      `${String((LARGE_MB - 24) * MB)}\n`,
    );
    expect((await berth.peakMemoryMb()) - before).toBeLessThan(FLAT_MB);
  });

  /** Bytes come slowly to one file, and none to another. */
  async function trickle(): Promise<void> {
    const slow = open('PUT', 'files?path=/home/user/slow', { 'transfer-encoding': 'chunked' });
    const silent = open('PUT', 'files?path=/home/user/silent', { 'content-length': 9 });
    const answers = Promise.all([answerOf(slow), answerOf(silent)]);
    silent.write('half');
    const until = performance.now() + BEYOND_DEADLINE_MS;
    let bytes = 0;
    for (; performance.now() < until; bytes += 1) {
      await write(slow, Buffer.from('x'));
      await delay(500);
    }
    slow.end();
    const [taken, given] = await answers;
    expect([taken.resume().statusCode, given.resume().statusCode]).toEqual([201, 408]);
    expect(await sh('wc -c </home/user/slow; ls -A /home/user | grep -E "silent|berth"')).toBe(`${String(bytes)}\n`);
  }

  /** A client takes nothing, and holds up no other. */
  async function takeNothing(): Promise<void> {
    await sh('head -c 67108864 /dev/zero >/home/user/zeros');
    const reading = open('GET', 'files?path=/home/user/zeros');
    reading.end();
    const answer = await answerOf(reading);
    const broken = new Promise((resolve) => answer.once('close', resolve));
    answer.once('data', () => answer.pause());
    const opened = (): Promise<string> => sh('ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c /home/user/zeros');
    await eventually(async () => expect(await opened()).not.toBe('0\n'));
    const before = performance.now();
    expect((await api.call('GET', `/api/containers/${container.db_id}/files/list?path=/`)).status).toBe(200);
    expect(performance.now() - before).toBeLessThan(5_000);
    await eventually(async () => expect(await opened()).toBe('0\n'), { timeoutMs: 100_000 });
    answer.resume();
    await broken;
    expect(answer.complete).toBe(false);
  }

  // Both last a minute.
  it('must be taken in any time while bytes come, and given up when none do, or a client takes none for a minute', async () => {
    await Promise.all([trickle(), takeNothing()]);
  });

  it('must be what they were where the server is killed in the middle', async () => {
    await sh('echo whole >/home/user/kept');
    const sending = open('PUT', 'files?path=/home/user/kept', { 'content-length': 64 * MB });
    const archive = open('PUT', 'archive?path=/home/user/arc', { 'content-length': 64 * MB });
    const entries = pack();
    entries.entry({ name: 'small' }, 'x');
    const large = entries.entry({ name: 'large', size: 32 * MB });
    // They end with the request that they are sent by.
    for (const part of [entries, large]) part.on('error', () => undefined);
    large.write(randomBytes(8 * MB));
    for (const target of [sending, archive]) target.flushHeaders();
    entries.pipe(archive);
    await write(sending, randomBytes(8 * MB));
    await eventually(async () => {
      expect(await sh('ls -A /home/user /home/user/arc')).toMatch(/berth-upload-[^]*berth-unpacking-/);
    });
    await berth.kill();
    // Without its last part, what they were given is not whole: the scripts clean up by themselves.
    await eventually(async () => expect(await sh('ls -A /home/user /home/user/arc')).not.toMatch(/berth-/));
    expect(await sh('cat /home/user/kept; ls -A /home/user/arc')).toBe('whole\n');
    await berth.start();
    api = await berth.user();
  });
});

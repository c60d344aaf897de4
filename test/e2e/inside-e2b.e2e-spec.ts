import { createHash } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { CommandExitError, FileNotFoundError, FilesystemEventType, type FilesystemEvent, Sandbox } from 'e2b';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SimulatedEngine } from '../../packages/simulator/src/simulated-engine';
import { TokenService } from '../../src/auth';
import { PreviewServer } from '../../src/previews';
import { isSimulated, itOnDocker } from '../support/docker/which-engine';
import { eventually } from '../support/eventually';
import { Berth, type NewUser } from '../support/servers/berth';

jest.setTimeout(120_000);

const IMAGE = process.env['TEST_SANDBOX_IMAGE'] ?? 'berth/sandbox:latest';

/** Answers one request with its own head. */
const MIRROR = `use IO::Socket::INET; $| = 1; $/ = "\\r\\n\\r\\n";
$s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 3001, Listen => 1, ReuseAddr => 1) or die; print "ready";
$c = $s->accept; $_ = <$c>;
print $c "HTTP/1.1 200 OK\\r\\nContent-Length: " . length($_) . "\\r\\nConnection: close\\r\\n\\r\\n$_";
$c->flush; shutdown($c, 1); 1 while sysread($c, $_, 4096);`;

describe("E2B's SDK with a sandbox", () => {
  const folder = mkdtempSync(join(tmpdir(), 'e2b-'));
  let berth: Berth;
  let user: NewUser;
  let apiKey: string;
  let address: URL;
  let sandbox: Sandbox;
  let secret: string;

  beforeAll(async () => {
    const images = join(folder, 'images.json');
    const image = { name: 'sandbox', reference: IMAGE, description: 'Test', default: true, pull: 'never' };
    writeFileSync(images, JSON.stringify({ images: [image] }));
    berth = await Berth.start({
      ...(isSimulated ? { engine: new SimulatedEngine({ folder: null, speed: Infinity }) } : { subject: 'e2b' }),
      environment: { IMAGES_FILE: images, PREVIEW_PORT: '0' },
    });
    user = await berth.user('enterprise');
    const issued = { userId: user.id, name: 'e2b', scopes: ['read', 'write', 'exec'] as const, expiresAt: null };
    apiKey = (await berth.app.get(TokenService).issue({ ...issued, format: 'e2b' })).text;
    sandbox = await Sandbox.create({ ...connection(), envs: { FOO: 'bar' } });
    const target = { containerId: sandbox.sandboxId, port: 49983 };
    address = new URL(berth.app.get(PreviewServer).originOf(target) ?? '');
    secret = (sandbox as unknown as { envdAccessToken: string }).envdAccessToken;
  });

  afterAll(async () => {
    await berth.stop();
    rmSync(folder, { recursive: true });
  });

  const connection = () => ({ apiKey, apiUrl: `${berth.url}/e2b`, sandboxUrl: `${berth.url}/e2b` });
  const headers = (more: Record<string, string> = {}): Record<string, string> => ({
    'e2b-sandbox-id': sandbox.sandboxId,
    'e2b-sandbox-port': '49983',
    'x-access-token': secret,
    ...more,
  });
  /** A unary call, as any client makes it. */
  const rpc = async (method: string, message: object, more: Record<string, string> = {}) => {
    const answer = await fetch(`${berth.url}/e2b/${method}`, {
      method: 'POST',
      headers: headers({ 'content-type': 'application/json', ...more }),
      body: JSON.stringify(message),
    });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };

  describe('commands', () => {
    it('runs commands, with their output, exit code, variables and directory', async () => {
      const done = await sandbox.commands.run('echo $FOO $OWN; echo no >&2; pwd', { envs: { OWN: 'x' }, cwd: '/tmp' });
      expect(done).toMatchObject({ exitCode: 0, stdout: 'bar x\n/tmp\n', stderr: 'no\n' });
      expect(await sandbox.commands.run('pwd', { cwd: '.' })).toMatchObject({ stdout: '/home/user\n' });
      const failed = sandbox.commands.run('exit 3');
      await expect(failed).rejects.toBeInstanceOf(CommandExitError);
      await expect(failed).rejects.toMatchObject({ exitCode: 3 });
    });

    it('passes all of a large output on, in order', async () => {
      const { stdout } = await sandbox.commands.run('seq 1 20000');
      expect(stdout).toBe(Array.from({ length: 20_000 }, (_, at) => `${String(at + 1)}\n`).join(''));
    });

    it('writes to, closes and kills processes, lists them, and connects to them after a client has left', async () => {
      const cat = await sandbox.commands.run('cat', { background: true, stdin: true });
      await sandbox.commands.sendStdin(cat.pid, 'one');
      await eventually(() => expect(cat.stdout).toBe('one'));
      await cat.disconnect();
      expect((await sandbox.commands.list()).map(({ pid }) => pid)).toContain(cat.pid);
      const again = await sandbox.commands.connect(cat.pid);
      await sandbox.commands.sendStdin(cat.pid, 'two');
      await again.closeStdin();
      expect(await again.wait()).toMatchObject({ exitCode: 0, stdout: 'two' });
      const sleep = await sandbox.commands.run('sleep 60', { background: true });
      expect(await sandbox.commands.kill(sleep.pid)).toBe(true);
      await expect(sleep.wait()).rejects.toBeInstanceOf(CommandExitError);
      expect(await sandbox.commands.kill(sleep.pid)).toBe(false);
      await expect(sandbox.commands.connect(sleep.pid)).rejects.toThrow();
    });

    it('gives a command without stdin an end of its input, and kills one at its deadline', async () => {
      expect(await sandbox.commands.run('cat')).toMatchObject({ exitCode: 0, stdout: '' });
      const late = await sandbox.commands.run('sleep 60', { background: true, timeoutMs: 700 });
      await expect(late.wait()).rejects.toThrow(/timeoutMs/);
      await eventually(async () =>
        expect((await sandbox.commands.list()).map(({ pid }) => pid)).not.toContain(late.pid),
      );
    });
  });

  it('runs a shell with a terminal, which is resized and connected to', async () => {
    let output = '';
    const onData = (data: Uint8Array): void => void (output += Buffer.from(data).toString());
    const shell = await sandbox.pty.create({ cols: 80, rows: 24, onData, envs: { ABC: '123' } });
    await sandbox.pty.resize(shell.pid, { cols: 100, rows: 30 });
    await sandbox.pty.sendInput(shell.pid, Buffer.from('echo $ABC; stty size\n'));
    await eventually(() => expect(output).toMatch(/123[^]*30 100/));
    await shell.disconnect();
    const again = await sandbox.pty.connect(shell.pid, { onData });
    await sandbox.pty.sendInput(shell.pid, Buffer.from('exit\n'));
    await again.wait();
    expect(again.exitCode).toBe(0);
  });

  describe('files', () => {
    it('writes, reads, describes, moves, lists and removes files', async () => {
      expect(await sandbox.files.write('notes/a.txt', 'hello')).toMatchObject({ path: '/home/user/notes/a.txt' });
      expect(await sandbox.files.read('notes/a.txt')).toBe('hello');
      expect(await sandbox.files.getInfo('notes/a.txt')).toMatchObject({
        name: 'a.txt',
        type: 'file',
        path: '/home/user/notes/a.txt',
        size: 5,
        mode: 0o644,
        permissions: '-rw-r--r--',
        owner: 'root',
        group: 'root',
      });
      await sandbox.files.makeDir('notes/deep');
      expect(await sandbox.files.makeDir('notes/deep')).toBe(false);
      await sandbox.files.rename('notes/a.txt', 'notes/deep/b.txt');
      expect((await sandbox.files.list('notes', { depth: 2 })).map(({ path }) => path)).toEqual([
        '/home/user/notes/deep',
        '/home/user/notes/deep/b.txt',
      ]);
      await sandbox.files.remove('notes');
      await sandbox.files.remove('notes');
      expect(await sandbox.files.exists('notes')).toBe(false);
      await expect(sandbox.files.read('notes/a.txt')).rejects.toBeInstanceOf(FileNotFoundError);
    });

    it('takes several files of a form, a stream, and gzip', async () => {
      const several = ['x/1', 'x/2'].map((path) => ({ path, data: path }));
      expect((await sandbox.files.write(several)).map(({ path }) => path)).toEqual([
        '/home/user/x/1',
        '/home/user/x/2',
      ]);
      expect(await sandbox.files.read('x/2')).toBe('x/2');
      await sandbox.files.write('x/3', new Blob(['streamed']).stream());
      expect(await sandbox.files.read('x/3')).toBe('streamed');
      await sandbox.files.write('x/4', 'packed'.repeat(1000), { gzip: true });
      expect(await sandbox.files.read('x/4')).toBe('packed'.repeat(1000));
      const form = new FormData();
      form.append('file', 'without a name');
      const query = new URLSearchParams({ path: '/home/user/x/5' }).toString();
      const sent = { method: 'POST', headers: headers(), body: form };
      const answer = await fetch(`${berth.url}/e2b/files?${query}`, sent);
      expect(await answer.json()).toEqual([{ name: '5', path: '/home/user/x/5', type: 'file' }]);
      expect(await sandbox.files.read('x/5')).toBe('without a name');
    });

    it('watches a directory', async () => {
      await sandbox.files.makeDir('watched');
      const seen: FilesystemEvent[] = [];
      const watch = await sandbox.files.watchDir('watched', (event) => void seen.push(event), { recursive: true });
      await sandbox.files.write('watched/new.txt', 'x');
      await eventually(() =>
        expect(seen).toContainEqual(expect.objectContaining({ name: 'new.txt', type: FilesystemEventType.WRITE })),
      );
      await watch.stop();
    });

    it('collects changes for clients that ask for them', async () => {
      await sandbox.files.makeDir('polled');
      const path = '/home/user/polled';
      const { body } = await rpc('filesystem.Filesystem/CreateWatcher', { path, includeEntry: true });
      await sandbox.files.write('polled/new.txt', 'x');
      const events = () => rpc('filesystem.Filesystem/GetWatcherEvents', body);
      const all: unknown[] = [];
      await eventually(async () => {
        all.push(...(((await events()).body['events'] as unknown[] | undefined) ?? []));
        expect(all).toContainEqual(
          expect.objectContaining({ name: 'new.txt', entry: expect.objectContaining({ path: `${path}/new.txt` }) }),
        );
      });
      expect(await rpc('filesystem.Filesystem/RemoveWatcher', body)).toMatchObject({ status: 200 });
      expect(await events()).toMatchObject({ status: 404, body: { code: 'not_found' } });
    });
  });

  it('tells health, variables and metrics', async () => {
    expect(await sandbox.isRunning()).toBe(true);
    const get = async (path: string) => (await fetch(`${berth.url}/e2b/${path}`, { headers: headers() })).json();
    expect(await get('envs')).toMatchObject({ FOO: 'bar' });
    expect(await get('metrics')).toMatchObject({ cpu_count: expect.any(Number), mem_used: expect.any(Number) });
    // The SDK rounds to seconds, perhaps to one that has not begun.
    const [now] = await sandbox.getMetrics({ start: new Date(Date.now() - 1_000) });
    expect(now).toMatchObject({
      cpuCount: expect.any(Number),
      memUsed: expect.any(Number),
      timestamp: expect.any(Date),
    });
    expect(await sandbox.getMetrics({ start: new Date(0), end: new Date(1_000_000) })).toEqual([]);
  });

  describe('below the preview domain', () => {
    const at = (path: string, { method = 'GET', more = {} }: { method?: string; more?: object } = {}) =>
      new Promise<{ status: number; body: string }>((resolve, reject) => {
        const headers = { host: address.host, ...more };
        const sent = httpRequest({ port: address.port, path, method, headers }, (answer) => {
          let body = '';
          answer.on('data', (data: Buffer) => (body += data.toString()));
          answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body }));
        });
        sent.on('error', reject).end();
      });
    // The SDK makes them at the root of the sandbox's address.
    const pathOf = (url: string): string => url.slice(berth.url.length);

    it('serves a signed address until it expires, for its file and operation alone', async () => {
      await sandbox.files.write('signed.txt', 'by a signature');
      const url = pathOf(await sandbox.downloadUrl('signed.txt', { useSignatureExpiration: 60 }));
      expect(await at(url)).toEqual({ status: 200, body: 'by a signature' });
      expect(await at(url.replace('signed.txt', 'other.txt'))).toMatchObject({ status: 401 });
      expect(await at(url, { method: 'POST' })).toMatchObject({ status: 401 });
      expect(await at(url.replace(/signature_expiration=\d+/, 'signature_expiration=99999999999'))).toMatchObject({
        status: 401,
      });
      const expired = pathOf(await sandbox.downloadUrl('signed.txt', { useSignatureExpiration: -60 }));
      expect(await at(expired)).toEqual({
        status: 401,
        body: JSON.stringify({ code: 401, message: 'signature is already expired' }),
      });
    });

    it('serves envd with the secret, and nothing of the control API', async () => {
      expect(await at('/health', { more: { 'x-access-token': secret } })).toMatchObject({ status: 204 });
      expect(await at('/health')).toMatchObject({ status: 401 });
      expect(await at('/sandboxes', { more: { 'x-api-key': apiKey } })).toMatchObject({ status: 404 });
    });
  });

  describe('what must be refused', () => {
    it("is another sandbox's secret, a forged signature, and no secret at all", async () => {
      const other = await Sandbox.create(connection());
      const its = { 'e2b-sandbox-id': other.sandboxId };
      expect(await rpc('process.Process/List', {}, its)).toMatchObject({
        status: 401,
        body: { code: 'unauthenticated' },
      });
      expect(await rpc('process.Process/List', {}, { 'x-access-token': '' })).toMatchObject({ status: 401 });
      const forged = createHash('sha256').update('/etc/passwd:read::guess').digest('base64').replace(/=+$/, '');
      const query = `path=/etc/passwd&signature=v1_${encodeURIComponent(forged)}`;
      const { 'x-access-token': _, ...unproved } = headers();
      const answer = await fetch(`${berth.url}/e2b/files?${query}`, { headers: unproved });
      expect(answer.status).toBe(401);
      await other.kill();
      expect(await other.isRunning()).toBe(false);
      expect(await rpc('process.Process/List', {}, its)).toMatchObject({ status: 502, body: { code: 'unavailable' } });
    });

    it.each([
      ['process.Process/Start', { process: {} }, 'process.cmd'],
      ['process.Process/SendSignal', { process: { pid: 1 }, signal: 'SIGNAL_UNSPECIFIED' }, 'signal'],
      ['process.Process/SendInput', { process: { pid: 1 } }, 'input'],
      ['filesystem.Filesystem/Stat', { path: '/a\0b' }, 'path'],
      ['filesystem.Filesystem/ListDir', { path: '/', depth: 99 }, 'depth'],
    ])('is a call of %s that is wrong, with its field', async (method, message, field) => {
      if (method.endsWith('Start')) {
        const frame = Buffer.alloc(5);
        const text = JSON.stringify(message);
        frame.writeUInt32BE(text.length, 1);
        const answer = await fetch(`${berth.url}/e2b/${method}`, {
          method: 'POST',
          headers: headers({ 'content-type': 'application/connect+json' }),
          body: Buffer.concat([frame, Buffer.from(text)]),
        });
        expect(await answer.text()).toMatch(new RegExp(`invalid_argument.*${field}`));
        return;
      }
      const { status, body } = await rpc(method, message);
      expect([status, body]).toEqual([400, { code: 'invalid_argument', message: expect.stringContaining(field) }]);
    });

    it('is a message of more than a mebibyte, and a path that is not there', async () => {
      expect(await rpc('filesystem.Filesystem/Stat', { path: 'x'.repeat(1024 * 1024 + 1) })).toMatchObject({
        body: { code: 'resource_exhausted' },
      });
      expect(await rpc('filesystem.Filesystem/Stat', { path: '/nowhere' })).toMatchObject({
        status: 404,
        body: { code: 'not_found' },
      });
    });
  });

  itOnDocker("passes a request to a program's port, without the secret", async () => {
    const mirror = await sandbox.commands.run(`perl -e '${MIRROR}'`, { background: true });
    await eventually(() => expect(mirror.stdout).toBe('ready'));
    const answer = await fetch(`${berth.url}/e2b/a/path?b=c`, { headers: headers({ 'e2b-sandbox-port': '3001' }) });
    const head = await answer.text();
    expect([answer.status, head]).toEqual([200, expect.stringContaining('GET /a/path?b=c HTTP/1.1')]);
    expect(head).not.toContain(secret);
    const wrong = { 'x-access-token': secret.replace(/./g, '0'), 'e2b-sandbox-port': '3001' };
    expect(await fetch(`${berth.url}/e2b/`, { headers: headers(wrong) })).toMatchObject({ status: 401 });
  });

  itOnDocker('loses the output that a client does not read, says so, and keeps none of it in memory', async () => {
    const text = Buffer.from(JSON.stringify({ process: { cmd: 'yes' } }));
    const frame = Buffer.concat([Buffer.from([0, 0, 0, 0, text.length]), text]);
    const before = process.memoryUsage.rss();
    const body = await new Promise<string>((resolve, reject) => {
      const sent = httpRequest(
        `${berth.url}/e2b/process.Process/Start`,
        {
          method: 'POST',
          headers: headers({ 'content-type': 'application/connect+json', 'connect-timeout-ms': '8000' }),
        },
        (answer) => {
          let end = '';
          answer.pause();
          setTimeout(() => {
            expect(process.memoryUsage.rss() - before).toBeLessThan(200 * 1024 * 1024);
            answer.resume();
          }, 2_000);
          answer.on('data', (data: Buffer) => (end = (end + data.toString('latin1')).slice(-1_000)));
          answer.on('end', () => resolve(end));
        },
      );
      sent.on('error', reject).end(frame);
    });
    expect(body).toContain('data_loss');
  });

  it('ends a command with its sandbox, and says so', async () => {
    const doomed = await Sandbox.create(connection());
    const sleep = await doomed.commands.run('sleep 60', { background: true });
    await doomed.kill();
    await expect(sleep.wait()).rejects.toThrow(/sandbox was killed/);
  });
});

import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Berth as Server, type TestUser } from '../../../test/support/servers/berth.ts';
import { eventually } from '../../../test/support/eventually.ts';
import { FakeDaemon, FakeEngine } from '../../../test/support/fakes/fake-engine.ts';
import { CommandLine } from './command-line.ts';

jest.setTimeout(120_000);

const IMAGE = process.env['TEST_IMAGE'] ?? 'berth/test:latest';

describe('berth', () => {
  const daemon = new FakeDaemon();
  let server: Server;
  let user: TestUser;
  let line: CommandLine;

  beforeAll(async () => {
    [server, line] = await Promise.all([
      Server.start({ engine: new FakeEngine(daemon), environment: { PREVIEW_PORT: '0', SSH_PORT: '0' } }),
      CommandLine.build(),
    ]);
    user = await server.user('enterprise');
  });
  afterAll(async () => {
    await server.stop();
    await line.remove();
  });

  const json = async (...args: readonly string[]): Promise<Record<string, unknown>> => {
    const { code, stdout, stderr } = await line.berth(...args, '--json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return JSON.parse(stdout) as Record<string, unknown>;
  };

  it('must want to be logged in, keep tokens from others, and let the environment win', async () => {
    const strange = await line.berth('ls');
    expect(strange).toMatchObject({ code: 2, stdout: '' });
    expect(strange.stderr).toContain('not logged in');
    expect(await line.berthWith({ input: 'berth_wrong\n' }, 'login', server.url)).toMatchObject({ code: 3 });
    const login = await line.berthWith({ input: `${user.token}\n` }, 'login', server.url, '--as', 'test');
    expect(login).toMatchObject({ code: 0, stdout: '' });
    const file = join(line.folder, '.config/berth/config.json');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({ current: 'test' });
    expect(await line.berth('ls', '--json')).toMatchObject({ code: 0, stdout: '[]\n' });
    expect(await line.berthWith({ environment: { BERTH_TOKEN: 'berth_other' } }, 'ls')).toMatchObject({ code: 3 });
    const elsewhere = { BERTH_URL: 'http://127.0.0.1:2', BERTH_TOKEN: 'berth_other' };
    expect(await line.berthWith({ environment: elsewhere }, 'stop', 'x')).toMatchObject({ code: 6 });
    expect(await line.berthWith({ environment: elsewhere }, 'ls', '--context', 'test')).toMatchObject({ code: 0 });
    expect(await line.berth('ls', '--context', 'nowhere')).toMatchObject({ code: 2 });
  });

  it('must make, show, change, delete and restore a container, for people and for scripts', async () => {
    const settings = ['--name', 'dev', '--memory', '0.5g', '--cpus', '0.5', '--disk', '1024', '--network', 'none'];
    const made = await json('create', IMAGE, ...settings, '--label', 'team=core', '--auto-stop', '30m');
    expect(made).toMatchObject({
      name: 'dev',
      status: 'running',
      resources: { memory_mb: 512, cpu_shares: 500, disk_mb: 1024 },
      network: 'none',
      labels: { team: 'core' },
      auto_stop_seconds: 1_800,
    });
    for (const label of ['team=core', 'team:core', 'team']) {
      const { stdout } = await line.berth('ls', '--label', label);
      expect(stdout).toMatch(/^ID +NAME +STATUS .*\n[0-9a-f]{8} +dev +running .* none +team=core +in (29|30)m /);
    }
    const filtered = async (...args: readonly string[]) => (await line.berth('ls', '-q', ...args)).stdout.split('\n');
    expect(await filtered('--network', 'none', '--ends-within', '1h')).toEqual([made['db_id'], '']);
    expect(await filtered('--network', 'allow')).toEqual(['']);
    expect(await filtered('--ends-within', '5m')).toEqual(['']);
    expect(await line.berth('ls', '--network', 'some')).toMatchObject({ code: 2 });
    expect(
      await json('update', 'dev', '--yes', '--memory', '256', '--network', '203.0.113.7:443', '--auto-stop', 'tier'),
    ).toMatchObject({
      resources: { memory_mb: 256, cpu_shares: 500 },
      network: { allow: ['203.0.113.7/32:443'] },
      auto_stop_seconds: null,
    });
    const updated = await line.berth('update', 'dev', '--memory', '512m', '-y');
    expect(updated).toMatchObject({ code: 0, stdout: '' });
    expect(updated.stderr).toMatch(/^dev: settings updated, recreated; files outside \/home\/user were (kept|lost)\n$/);
    expect(await line.berth('stop', 'dev')).toMatchObject({ code: 0, stdout: '', stderr: 'dev: container stopped\n' });
    expect(await json('start', 'dev')).toMatchObject({ status: 'running' });
    expect(await line.berth('create', IMAGE, '--name', 'dev', '--no-wait')).toMatchObject({ code: 5 });
    expect(await line.berth('rm', 'dev')).toMatchObject({ code: 0 });
    expect(await line.berth('stop', 'dev')).toMatchObject({
      code: 4,
      stderr: expect.stringMatching(/^berth: stop dev: container not found on /) as string,
    });
    expect(await json('restore', 'dev')).toMatchObject({ status: 'stopped' });
  });

  it('must show ports, make and revoke links, and let everybody see a port or not', async () => {
    daemon.onListening = () => Promise.resolve([{ port: 3000, addresses: ['127.0.0.1'] }]);
    await json('create', IMAGE, '--name', 'web', '--auto-start', 'on');
    expect(await json('show', 'web')).toMatchObject({ auto_start: true });
    expect(await json('update', 'web', '--auto-start', 'off')).toMatchObject({ auto_start: false });
    expect((await line.berth('port', 'ls', 'web')).stdout).toMatch(/3000 +127\.0\.0\.1 +private +http:\/\/3000-/);
    const url = await line.berth('port', 'link', 'web', '3000', '--name', 'review', '--expires', '1h', '--may-start');
    expect(url.stdout).toMatch(/^http:\/\/3000-[0-9a-f-]{36}\.preview\.localhost:\d+\/\.berth\/open#preview_\S{43}\n$/);
    const { stdout } = await line.berth('port', 'links', 'web', '3000');
    expect(stdout).toMatch(/[0-9a-f]{8} +review +any/);
    const id = /^([0-9a-f]{8}) /m.exec(stdout)?.[1] ?? '';
    expect(await line.berth('port', 'unlink', 'web', '3000', id)).toMatchObject({ code: 0, stdout: '' });
    expect(await line.berth('port', 'unlink', 'web', '3000', id)).toMatchObject({ code: 4 });
    expect(await json('port', 'public', 'web', '3000')).toMatchObject({ access: 'public' });
    expect(await json('port', 'private', 'web', '3000')).toMatchObject({ access: 'private' });
    expect(await line.berth('port', 'link', 'web', '65536')).toMatchObject({ code: 2 });
    await line.berth('rm', 'web');
  });

  it('must register SSH keys, run ssh with one of an hour, and print entries for its configuration', async () => {
    await json('create', IMAGE, '--name', 'box');
    daemon.onExec = ({ command, write }) => {
      write('stdout', `ran ${command.at(-1) ?? ''}\n`);
      return 3;
    };
    expect(await line.berth('ssh', 'box', 'ls', '-l')).toMatchObject({ code: 3, stdout: 'ran ls -l\n' });
    expect(await line.berth('ssh', 'box', '-T', 'again')).toMatchObject({ code: 3, stdout: 'ran again\n' });
    daemon.onExec = () => 0;
    const listed = JSON.parse((await line.berth('ssh-keys', '--json')).stdout) as { id: string; name: string }[];
    expect(listed).toMatchObject([{ name: 'berth ssh', expires_at: expect.any(String) as string }]);
    const file = join(line.folder, 'id.pub');
    await writeFile(
      file,
      'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAvRVPr8cMorNwnh3P98Dxsy0JmFZitjgDb31Y+rzWTT ada@laptop\n',
    );
    expect(await line.berth('ssh-keys', 'add', file)).toMatchObject({ code: 0, stdout: '' });
    expect(await line.berth('ssh-keys', 'add', file)).toMatchObject({ code: 5 });
    const [id] = /^[0-9a-f]{8}(?=\S* +ada@laptop)/m.exec((await line.berth('ssh-keys')).stdout) ?? [''];
    expect(await line.berth('ssh-keys', 'rm', id)).toMatchObject({ code: 0 });
    const { stdout: config } = await line.berth('ssh-config', 'box', '-i', '~/.ssh/id_ed25519');
    expect(config).toMatch(/^Host box\.berth\n {2}HostName 127\.0\.0\.1\n {2}Port \d+\n {2}User box\n/m);
    expect(config).toMatch(/StrictHostKeyChecking yes/);
    expect((await line.berth('ssh-config')).stdout).toContain('Host box.berth');
    expect(await line.berth('ssh', 'nothing')).toMatchObject({ code: 125 });
    await line.berth('rm', 'box');
  });

  it('must say what is wrong, in words and by the exit code', async () => {
    const usage = await line.berth('create', '--memory', 'much');
    expect(usage).toMatchObject({ code: 2, stdout: '' });
    expect(usage.stderr).toContain('Use a size such as 512, 512m or 2g.');
    const refused = await line.berth('create', IMAGE, '--memory', '1', '--no-wait');
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.stderr).toMatch(/^berth: create: invalid parameters: --memory \(memory_mb\) must be/);
    expect(await line.berth('tokens', 'rm', '3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11')).toMatchObject({ code: 4 });
  });

  it('must make, list and revoke tokens and agents, and show usage', async () => {
    const { stdout: token } = await line.berth('tokens', 'create', 'ci', '--scopes', 'read', '--expires-in', '1');
    expect(token).toMatch(/^berth_[0-9a-f]{64}\n$/);
    expect((await line.berth('tokens', 'create', 'sdk', '--format', 'e2b')).stdout).toMatch(/^e2b_[0-9a-f]{40}\n$/);
    const only = (await line.berth('tokens', 'create', 'agent', '--container', 'dev', '--forks')).stdout.trim();
    const agent = { environment: { BERTH_TOKEN: only } };
    expect((await line.berthWith(agent, 'whoami')).stdout).toMatch(/Only container +[0-9a-f-]{36} and its forks/);
    expect(await line.berthWith(agent, 'tokens')).toMatchObject({ code: 3 });
    const tokens = JSON.parse((await line.berth('tokens', '--json')).stdout) as { id: string; name: string }[];
    const made = tokens.find(({ name }) => name === 'ci');
    expect(await line.berth('tokens', 'rm', made?.id ?? '')).toMatchObject({ code: 0 });
    expect(await line.berthWith({ environment: { BERTH_TOKEN: token.trim() } }, 'ls')).toMatchObject({ code: 3 });
    expect(await line.berth('agents', 'create', 'workshop', '--tags', 'linux')).toMatchObject({ code: 0 });
    expect((await line.berth('agents')).stdout).toMatch(/workshop +offline/);
    expect(await json('usage')).toMatchObject({ usage: { containers: 1 } });
  });

  it('must show events as they come, a line of JSON each, and end at Ctrl-C', async () => {
    const watching = line.begin({}, 'watch', '--after', '0', '--json');
    let shown = '';
    watching.stdout?.on('data', (chunk: Buffer) => (shown += chunk.toString()));
    await eventually(() => expect(shown).toContain('container_restored')).catch((error: unknown) => {
      watching.kill();
      throw error;
    });
    watching.kill('SIGINT');
    expect(await new Promise((resolve) => watching.once('close', resolve))).toBe(130);
    const events = shown
      .trim()
      .split('\n')
      .map((each) => JSON.parse(each) as { seq: number });
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
  });

  it('must complete commands, options and names of containers in the shell', async () => {
    const script = await line.berth('completion', 'bash');
    expect(script).toMatchObject({ code: 0, stderr: '' });
    const complete = async (...words: readonly string[]) => (await line.berth('__complete', ...words)).stdout;
    expect(await complete('st')).toBe('start\nstop\nstats\n');
    expect(await complete('update', '--mem')).toBe('--memory\n');
    expect(await complete('stop', 'd')).toBe('dev\n');
    expect(await complete('tokens', 'cr')).toBe('create\n');
  });
});

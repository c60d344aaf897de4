import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Berth, type TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { TerminalClient } from '../support/clients/terminal-client';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';

const environment = { ENGINE: 'simulated', SIMULATION_SPEED: '1000', INSTANCE_ID: 'simulated' };

it('must be offered to whoever has no Docker and may start none', async () => {
  const asNobody = `import { startOwnDocker } from './scripts/lib/find-docker.mjs';
    if (process.getuid() === 0) process.setuid(65534);
    startOwnDocker('/nonexistent', {}).catch(({ advice }) => console.log(advice.join('\\n')));`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', asNobody]);
  expect(stdout).toContain('npm start -- --simulate');
});

it('must be whose database `npm run token` is told of while it runs, and no longer', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'berth-lock-'));
  const owner = `import { notesOf, takeLock } from './scripts/lib/process-lock.mjs';
    const lock = takeLock(process.argv[1], { what: 'this' });
    lock.note({ database: 'sqlite:simulated' });
    console.log(notesOf(process.argv[1]).database);`;
  const reader = `import { notesOf } from './scripts/lib/process-lock.mjs'; console.log(notesOf(process.argv[1]));`;
  const run = async (script: string): Promise<string> => {
    const args = ['--input-type=module', '-e', script, join(folder, 'lock')];
    return (await promisify(execFile)(process.execPath, args)).stdout.trim();
  };
  expect(await run(owner)).toBe('sqlite:simulated');
  expect(await run(reader)).toBe('undefined');
  await rm(folder, { recursive: true });
});

describe('a server on the simulated engine', () => {
  let database: TestDatabase;
  let berth: Berth;
  let user: TestUser;
  let id: string;

  beforeAll(async () => {
    database = await openTestDatabase();
    berth = await Berth.start({ environment, database });
    user = await berth.user('pro', ['read', 'write', 'exec']);
    id = (await user.api.running({ image: 'sandbox', custom_image: null, role: 'node' })).db_id;
  });
  afterAll(async () => {
    await berth.stop();
    await rm(`${database.url.replace('sqlite:', '')}.simulated`, { recursive: true });
    await database.drop();
  });

  const sh = async (script: string, of = id): Promise<unknown> =>
    (await user.api.call('POST', `/api/containers/${of}/exec`, { command: ['sh', '-c', script] })).body['stdout'];
  const runs = async (of: unknown): Promise<string> => {
    const answer = await user.api.call('GET', `/api/containers/${String(of)}/wait?status=running&timeout=20`);
    expect(answer.status).toBe(200);
    return String(of);
  };
  const files = (method: string, path: string, body?: string, conditions = {}): Promise<Response> =>
    fetch(`${berth.url}/api/containers/${id}/files?path=${path}`, {
      method,
      headers: { authorization: `Bearer ${user.token}`, 'content-type': 'application/octet-stream', ...conditions },
      ...(body !== undefined && { body }),
    });

  it('must say that it is one, as a notice and of its containers', async () => {
    const ready = (await (await fetch(`${berth.url}/health/ready`)).json()) as Record<string, unknown>;
    expect(ready).toMatchObject({ status: 'degraded', runtime: 'simulated', sandbox_proof: null });
    expect(ready['notices']).toEqual([expect.stringContaining('only simulated')]);
    expect((await user.api.get(id)).body['runtime']).toBe('simulated');
  });

  it('must write and delete files on conditions, as on Docker', async () => {
    await files('PUT', '/home/user/b.txt', 'old');
    const etag = (await files('HEAD', '/home/user/b.txt')).headers.get('etag') ?? '';
    const on = { 'if-match': etag };
    const all = ['1', '2', '3'].map(async (text) => (await files('PUT', '/home/user/b.txt', text, on)).status);
    expect((await Promise.all(all)).sort()).toEqual([200, 412, 412]);
    expect((await files('DELETE', '/home/user/b.txt', undefined, on)).status).toBe(412);
    expect((await files('DELETE', '/home/user/b.txt', undefined, { 'if-match': '*' })).status).toBe(204);
    expect((await files('PUT', '/home/user/b.txt', 'new', on)).status).toBe(412);
    expect(await sh('ls -A; ls -A /tmp | grep berth')).toBe('');
  });

  it('must install roles and take files by the scripts that run on Docker', async () => {
    await eventually(async () => expect((await user.api.get(id)).body['role_status']).toBe('installed'));
    expect(await sh('command -v node npm')).toContain('/node\n');
    expect((await files('PUT', '/home/user/a.txt', 'grüße')).status).toBe(201);
    expect(await (await files('GET', '/home/user/a.txt')).text()).toBe('grüße');
    expect(await sh('cat a.txt; ls')).toBe('grüßea.txt\n');
    const archive = await fetch(`${berth.url}/api/containers/${id}/archive?path=/home/user`, {
      headers: { authorization: `Bearer ${user.token}` },
    });
    expect(Buffer.from(await archive.arrayBuffer()).toString()).toContain('./a.txt');
    expect((await files('GET', '/home/user/b.txt')).status).toBe(404);
    expect((await files('DELETE', '/home/user')).status).toBe(409);
  });

  it('must have terminals with a prompt, keys that interrupt, and an end', async () => {
    const terminal = await new TerminalClient(berth.url, { token: user.token, container: id }).opened();
    // What is typed before is shown before the prompt, as any terminal does.
    await eventually(() => expect(terminal.text).toContain('# '));
    terminal.type('echo $((6*7))\r');
    await eventually(() => expect(terminal.text).toContain('\r\n42\r\n'));
    terminal.type('sleep 1000\r');
    await eventually(async () => expect(await sh('ps')).toContain('sleep 1000'));
    terminal.type('\u0003');
    await eventually(async () => expect(await sh('ps')).not.toContain('sleep 1000'));
    terminal.type('exit 3\r');
    await eventually(() => expect(terminal.exit).toMatchObject({ code: 3, reason: 'exited' }));
    terminal.socket.close();
  });

  it('must stop, start, resize and fail as containers on Docker do', async () => {
    expect((await user.api.stop(id)).body['status']).toBe('stopped');
    expect((await user.api.start(id)).body['status']).toBe('running');
    const resources = { memory_mb: 512, cpu_shares: 500, disk_mb: 4096 };
    expect((await user.api.update(id, { name: 'resized', ...resources })).body['container']).toMatchObject({
      resources,
    });
    expect(await sh('cat a.txt')).toBe('grüße');
    const failing = await user.api.create({ custom_image: 'example/no-such-image:1' });
    await eventually(async () => {
      expect((await user.api.get(String(failing.body['db_id']))).body['status']).toBe('error');
    });
  });

  it('must keep what is outside the home in resizes, snapshots and forks', async () => {
    await sh('echo tool >/opt/tool; ln -s tool /opt/link; rm /etc/os-release; chmod 700 /srv');
    const shown = 'cat /opt/link; [ -e /etc/os-release ] || echo gone; stat -c %a /srv; cat a.txt; command -v node';
    const before = await sh(shown);
    expect(before).toMatch(/^tool\ngone\n700\ngrüße.+node\n$/);
    const { body: made } = await user.api.call('POST', `/api/containers/${id}/snapshots`, {});
    const { body: ready } = await user.api.call('GET', `/api/snapshots/${String(made['id'])}/wait?timeout=20`);
    expect(ready).toMatchObject({ status: 'ready', root: true });
    await sh('echo other >/opt/tool');
    expect(await user.api.patch(id, { memory_mb: 256 })).toMatchObject({ status: 200, body: { root_kept: true } });
    expect(await sh('cat /opt/tool')).toBe('other\n');
    const fork = await runs((await user.api.call('POST', `/api/containers/${id}/fork`, {})).body['db_id']);
    expect(await sh('cat /opt/tool', fork)).toBe('other\n');
    await sh('rm -r /opt', fork);
    expect(await sh('cat /opt/tool')).toBe('other\n');
    const creation = await user.api.call('POST', '/api/containers', { snapshot: made['id'] });
    const copy = await runs(creation.body['db_id']);
    expect(await sh(shown, copy)).toBe(before);
    for (const each of [fork, copy]) await user.api.delete(each);
    const back = { snapshot: made['id'], keep: false };
    expect(await user.api.call('POST', `/api/containers/${id}/restore-snapshot`, back)).toMatchObject({ status: 200 });
    expect(await sh(shown)).toBe(before);
  });

  it.each([
    ['after a restart', (saved: string) => saved],
    ['as a version before 0.8.0 saved them', (saved: string) => saved.replaceAll('"engineId"', '"dockerId"')],
  ])('must have its containers and their data again %s', async (_when, change) => {
    await berth.stop();
    const file = join(`${database.url.replace('sqlite:', '')}.simulated`, 'daemon.json');
    await writeFile(file, change(await readFile(file, 'utf8')));
    berth = await Berth.start({ environment, database });
    user = berth.as(user);
    expect((await user.api.get(id)).body).toMatchObject({ status: 'running', runtime: 'simulated' });
    expect(await sh('cat a.txt; cat /opt/tool; command -v node')).toMatch(/^grüßetool\n.+node\n$/);
  });
});

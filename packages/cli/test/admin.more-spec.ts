import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NodeWatch } from '../../../src/containers/nodes/node-watch.ts';
import { Clock } from '../../../src/scheduling/clock.ts';
import { SMALL, testImage } from '../../../test/support/clients/api-client.ts';
import { Berth as Server, type TestUser } from '../../../test/support/servers/berth.ts';
import { eventually } from '../../../test/support/eventually.ts';
import { FakeEngine } from '../../../test/support/fakes/fake-engine.ts';
import { FakeCluster } from '../../../test/support/fakes/fake-cluster.ts';
import { CommandLine, type PersonsTerminal } from './command-line.ts';

jest.setTimeout(120_000);

class AheadClock extends Clock {
  aheadMs = 0;

  override now(): Date {
    return new Date(super.now().getTime() + this.aheadMs);
  }
}

describe('berth admin', () => {
  const cluster = new FakeCluster(['one', 'two']);
  const clock = new AheadClock();
  let server: Server;
  let user: TestUser;
  let line: CommandLine;
  let terminal: PersonsTerminal | undefined;

  beforeAll(async () => {
    server = await Server.start({
      engine: cluster.engine(),
      clock,
      environment: { INSTANCE_ID: 'cli-admin', VOLUME_COPY_IMAGE: testImage() },
    });
    const { token } = await server.user('pro', ['admin', 'read', 'write']);
    line = await CommandLine.build({ BERTH_URL: server.url, BERTH_TOKEN: token });
    user = await server.user('free');
    await user.api.running({ name: 'theirs' });
  });
  afterEach(() => terminal?.close());
  afterAll(async () => {
    await server.stop();
    await line.remove();
  });

  const availability = (name: string): string => cluster.named(name).facts.availability;

  it('must show machines, capacity, users, containers, usage and the audit, as tables and as JSON', async () => {
    expect((await line.berth('admin', 'nodes')).stdout).toMatch(
      /^NAME +STATE +AVAILABILITY +POOL +CONTAINERS +IDLE +MEMORY +CPUS +PROBLEM\none +reachable +active +default +\d +0 +\d+ (M)?B of 1 GB +[\d.]+ of 4 +-\ntwo /,
    );
    expect(await line.berth('admin', 'capacity')).toMatchObject({
      stdout: expect.stringMatching(/^WHAT +TOTAL .*\nmemory +2 GB .*\ncpus +8 .*\ndisk /) as string,
      stderr: '0 idle (not used for 10 minutes)\n',
    });
    expect((await line.berth('admin', 'users', '--tier', 'free')).stdout).toMatch(
      /\n[0-9a-f-]{36} +user-\S+ +free +no /,
    );
    expect((await line.berth('admin', 'containers', '--user', user.id)).stdout).toMatch(
      new RegExp(`\\n[0-9a-f]{8} +theirs +${user.id} +running .* (one|two) `),
    );
    expect((await line.berth('admin', 'usage', '--user', user.id)).stdout).toMatch(
      /\n20\d\d-\d\d-\d\d +[0-9a-f-]{36} +/,
    );
    const made = await line.berth('admin', 'audit', '--user', user.id, '--action', 'container.create', '-n', '1');
    expect(made.stdout).toMatch(/\n20\S+Z +container\.create +ok +[0-9a-f-]{36} +[0-9a-f-]{36} +127\.0\.0\.1\n$/);
    expect((await line.berth('admin', 'reconcile')).stdout).toMatch(/\nfailed +0\n/);
    for (const what of ['nodes', 'users', 'containers', 'usage', 'audit']) {
      const { stdout, ...ended } = await line.berth('admin', what, '--json');
      expect({ what, ...ended }).toEqual({ what, code: 0, stderr: '' });
      expect(JSON.parse(stdout)).toBeInstanceOf(Array);
    }
    expect(JSON.parse((await line.berth('admin', 'capacity', '--json')).stdout)).toMatchObject({
      cpu_shares: { total: 8000 },
    });
  });

  it('must make, show and delete templates', async () => {
    for (const name of ['one', 'two']) cluster.named(name).daemon.images.add('tools:1');
    const options = ['--image', 'tools:1', '--memory', '512m', '--tier', 'pro', '--tier', 'free', '--start', 'sleep 1'];
    const refused = await line.berth('admin', 'templates', 'put', 'tools', '1', ...options);
    expect(refused).toMatchObject({ code: 3, stderr: expect.stringContaining('insufficient permissions') as string });
    const plain = options.slice(0, -2);
    const put = await line.berth('admin', 'templates', 'put', 'tools', '1', ...plain);
    expect(put).toMatchObject({ code: 0, stderr: 'tools: template created\n' });
    expect((await line.berth('admin', 'templates')).stdout).toMatch(
      /^NAME +VERSION +IMAGE +SNAPSHOT +DATA +ROLE +TIERS +AGE\ntools +1 +tools:1 +- +no +- +pro, free +/,
    );
    expect(await line.berth('admin', 'templates', 'put', 'tools', '2')).toMatchObject({
      code: 2,
      stderr:
        'berth: admin templates put: a template is created from an image or a snapshot. Use either --image or --snapshot\n',
    });
    expect(await line.berth('create', 'tools', '--snapshot', 'any')).toMatchObject({
      code: 2,
      stderr: 'berth: create: an image and --snapshot are mutually exclusive. Use only one of them\n',
    });
    expect(await line.berth('admin', 'templates', 'rm', 'tools', '--yes')).toMatchObject({
      code: 0,
      stderr: 'tools: template deleted\n',
    });
    expect(JSON.parse((await line.berth('admin', 'templates', '--json')).stdout)).toEqual([]);
  });

  it('must show warm slots with the creations that took one, and remove them', async () => {
    const file = join(line.folder, 'slots.json');
    writeFileSync(file, JSON.stringify({ slots: [{ image: testImage(), tier: 'pro', ...SMALL, count: 1 }] }));
    const pool = await Server.start({ engine: new FakeEngine(), environment: { WARM_POOL: file } });
    try {
      const someone = await pool.user('pro', ['admin', 'read', 'write']);
      const environment = { BERTH_URL: pool.url, BERTH_TOKEN: someone.token };
      const warm = (...options: readonly string[]) => line.berthWith({ environment }, 'admin', 'warm', ...options);
      await eventually(async () => expect((await warm()).stdout).toMatch(/ 1 +1 +0 +0\n$/));
      expect((await someone.api.create()).body).toMatchObject({ status: 'running' });
      expect((await someone.api.create({ disk_mb: 2048 })).status).toBe(202);
      const shown = await warm();
      expect(shown.stdout).toMatch(
        /^KEY +IMAGE +MEMORY +CPUS +DISK +WANTED +READY +STARTING +RELEASING\n[\da-f-]+ +\S+ +256 MB +0?\.5 +/,
      );
      expect(shown.stderr).toMatch(/^file; used by 1 creation; not used: none_ready 1\n/);
      expect(JSON.parse((await warm('--json')).stdout)).toMatchObject({ mode: 'file', hits: 1 });
      expect(await warm('--empty')).toMatchObject({
        code: 0,
        stderr: expect.stringMatching(/^\d removed\n$/) as string,
      });
    } finally {
      await pool.stop();
    }
  });

  it('must drain a machine and take that back only where somebody says so', async () => {
    expect(await line.berth('admin', 'nodes', 'drain', 'one')).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /^berth: admin nodes drain one: confirmation needs a terminal\. Use --yes to confirm\n {2}Drain one\?/,
      ) as string,
    });
    for (const [answer, code] of [
      ['n\r', 1],
      ['\r', 1],
      ['\u0003', 130],
    ] as const) {
      terminal = line.inTerminal('rows 24 cols 100', 'admin', 'nodes', 'drain', 'one');
      await terminal.shows(/Drain one\? No containers are placed or started there; .* \[y\/N\]/);
      terminal.type(answer);
      await terminal.shows(`ended with ${String(code)}`);
      terminal.close();
      expect(availability('one')).toBe('active');
    }
    terminal = line.inTerminal('rows 24 cols 100', 'admin', 'nodes', 'drain', 'one');
    await terminal.shows(/\[y\/N\]/);
    terminal.type('y\r');
    await terminal.shows(/one: reachable, drain[\s\S]*ended with 0/);
    expect(availability('one')).toBe('drain');
    expect(JSON.parse((await line.berth('admin', 'nodes', 'activate', 'one', '--yes', '--json')).stdout)).toMatchObject(
      {
        name: 'one',
        availability: 'active',
      },
    );
  });

  it('must move a container to the machine that is named, or to another', async () => {
    const nodeOf = async (): Promise<string> => {
      const { stdout } = await line.berth('admin', 'containers', '--json');
      return (JSON.parse(stdout) as { node: string }[])[0]?.node ?? '';
    };
    const { body } = await user.api.call('GET', '/api/containers');
    const [{ db_id: id } = { db_id: '' }] = body['containers'] as { db_id: string }[];
    expect(await line.berth('admin', 'move', id)).toMatchObject({ code: 2 });
    const node = (await nodeOf()) === 'one' ? 'two' : 'one';
    expect(await line.berth('admin', 'move', id.slice(0, 8), node, '-y')).toEqual({
      code: 0,
      stdout: '',
      stderr: `theirs: running on ${node}\n`,
    });
    expect(await nodeOf()).toBe(node);
    expect(await line.berth('admin', 'move', id, node, '-y')).toMatchObject({ code: 5 });
    expect(JSON.parse((await line.berth('admin', 'move', id, '-y', '--json')).stdout)).toMatchObject({ db_id: id });
    expect(await nodeOf()).not.toBe(node);
  });

  it('must give up a machine that is gone, and none that answers', async () => {
    expect(await line.berth('admin', 'nodes', 'forget', 'two', '--yes')).toMatchObject({ code: 5 });
    cluster.named('two').cut();
    clock.aheadMs += 20_000;
    await server.app.get(NodeWatch).look();
    expect(await line.berth('admin', 'nodes', 'forget', 'two', '-y')).toEqual({
      code: 0,
      stdout: '',
      stderr: 'two: forgotten, active\n',
    });
    expect(await line.berth('admin', 'nodes', 'forget', 'three', '-y')).toMatchObject({ code: 4 });
  });

  it('must be refused without the scope, and completed with it', async () => {
    const environment = { BERTH_TOKEN: user.token };
    expect(await line.berthWith({ environment }, 'admin', 'nodes')).toMatchObject({ code: 3 });
    const complete = async (...words: readonly string[]) => (await line.berth('__complete', ...words)).stdout;
    expect(await complete('admin', '')).toBe(
      'capacity\nwarm\ntemplates\nnodes\nusers\ncontainers\nmove\nusage\naudit\nreconcile\n',
    );
    expect(await complete('admin', 'nodes', 'drain', 'o')).toBe('one\n');
    expect(await complete('admin', 'nodes', 'forget', '--y')).toBe('--yes\n');
  });
});

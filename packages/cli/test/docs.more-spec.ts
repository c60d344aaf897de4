import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { NodeWatch } from '../../../src/containers/nodes/node-watch.ts';
import { Clock } from '../../../src/scheduling/clock.ts';
import { ApiClient, testImage } from '../../../test/support/clients/api-client.ts';
import { Berth as Server } from '../../../test/support/servers/berth.ts';
import { blocksOf } from '../../../test/support/clients/document-blocks.ts';
import { FakeCluster } from '../../../test/support/fakes/fake-cluster.ts';
import { openTestDatabase } from '../../../test/support/databases/test-database.ts';
import { CommandLine, type Ended } from './command-line.ts';

jest.setTimeout(120_000);

class AheadClock extends Clock {
  aheadMs = 0;

  override now(): Date {
    return new Date(super.now().getTime() + this.aheadMs);
  }
}

/** The command lines of a block, without their comments. */
function linesOf(heading: string): string[] {
  const block = blocksOf('docs/cli.md').find((each) => each.language === 'sh' && each.heading === heading);
  const lines = block?.text.split('\n').map((line) => line.replace(/ +#.*$/, '')) ?? [];
  return lines.filter((line) => line !== '');
}

describe('what docs/cli.md shows', () => {
  let line: CommandLine;

  beforeAll(async () => (line = await CommandLine.build()));
  afterAll(() => line.remove());

  async function run(text: string, input = ''): Promise<Ended> {
    const [program, ...args] = text.split(/ +/);
    expect(program).toBe('berth');
    const ended = await line.berthWith({ input }, ...args);
    if (ended.code !== 0) throw new Error(`${text} ended with ${String(ended.code)}: ${ended.stderr}`);
    return ended;
  }

  it('must log in, make a container, use it, delete it and bring it back', async () => {
    const database = await openTestDatabase();
    const environment = { ENGINE: 'simulated', SIMULATION_SPEED: '1000', INSTANCE_ID: 'cli-docs' };
    const server = await Server.start({ database, environment });
    try {
      const { token } = await server.user('pro');
      const report = join(line.folder, 'report.txt');
      await writeFile(report, 'ready\n');
      const said: Record<string, string> = {};
      for (const text of linesOf('The command line')) {
        const real = text.replace('http://127.0.0.1:8080', server.url).replace('report.txt', report);
        const { stdout } = await run(real, text.startsWith('berth login') ? token : 'echo inside\nexit 0\n');
        said[text.split(' ')[1] ?? ''] = stdout;
      }
      expect(said).toMatchObject({
        ls: expect.stringMatching(/dev +running .*team=core/) as string,
        exec: expect.stringContaining('home') as string,
        sh: expect.stringContaining('inside') as string,
      });
      expect((await run('berth show dev')).stdout).toMatch(/Status +stopped/);
    } finally {
      await server.stop();
      await rm(`${database.url.replace('sqlite:', '')}.simulated`, { recursive: true });
      await database.drop();
    }
  });

  it('must do what administrators do', async () => {
    const cluster = new FakeCluster(['node1', 'node2', 'node3']);
    const clock = new AheadClock();
    const environment = { INSTANCE_ID: 'cli-docs-admin', VOLUME_COPY_IMAGE: testImage() };
    const server = await Server.start({ engine: cluster.engine(), clock, environment });
    try {
      const { token } = await server.user('pro', ['admin', 'read', 'write']);
      await run(`berth login ${server.url} --as admin`, token);
      cluster.named('node3').cut();
      clock.aheadMs += 20_000;
      await server.app.get(NodeWatch).look();
      for (const node of ['node1', 'node2']) cluster.named(node).daemon.images.add('my-tools:1.4');
      const api = new ApiClient(server.url, token);
      const { db_id: id } = await api.running();
      const made = await api.call('POST', `/api/containers/${id}/snapshots`, { name: 'with-nodejs' });
      const wait = `/api/snapshots/${String(made.body['id'])}/wait`;
      expect(await api.call('GET', wait)).toMatchObject({ status: 200 });
      for (const text of linesOf('For administrators')) {
        // Nodes in memory carry no data: test/nodes moves a container.
        if (!text.startsWith('berth admin move')) {
          await run(text.replace(/(drain|activate|forget|templates rm) [\w-]+/, '$& --yes'));
        }
      }
      expect((await run('berth admin nodes')).stdout).toMatch(/node2 +reachable +active[\s\S]*node3 +forgotten/);
    } finally {
      await server.stop();
    }
  });
});

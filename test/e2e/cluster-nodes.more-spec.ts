import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ClusterCommand } from '../support/servers/cluster-command';
import { eventually } from '../support/eventually';

jest.setTimeout(900_000);

const run = promisify(execFile);
/** Images are built, for two minutes in a new checkout on an idle machine, and brought to each node. */
const START_MS = 540_000;
/** Of the catalogue; the only image that these nodes have. */
const SANDBOX = { image: 'sandbox', custom_image: null };

describe('npm run cluster -- --nodes', () => {
  let command: ClusterCommand;

  beforeAll(async () => {
    command = await ClusterCommand.prepare();
  });
  afterAll(() => command.remove());

  /** What its nodes need of the machine: namespaces, cables, rules, mounts. */
  async function left(): Promise<string[]> {
    const folder = join(command.folder, 'nodes');
    const id = createHash('sha256').update(folder).digest('hex').slice(0, 6);
    const told = await Promise.all([
      run('ip', ['netns', 'list']),
      run('ip', ['-o', 'link', 'show']),
      run('iptables', ['-w', '-S']),
      run('iptables', ['-w', '-t', 'nat', '-S']),
    ]);
    const lines = [...told.map(({ stdout }) => stdout), await readFile('/proc/self/mounts', 'utf8')]
      .join('\n')
      .split('\n');
    return lines.filter((line) => line.includes(id) || line.includes(folder));
  }

  it('must put containers on Docker nodes of its own, leave nothing of them at Ctrl-C, and have all again', async () => {
    await command.start(['--nodes', '3', '--processes', '1'], START_MS);
    expect(command.output).toMatch(/^ {2}Nodes +node1 +tcp:\S+:2376\n +node2 .*\n +node3 /m);
    expect((await left()).length).toBeGreaterThan(0);
    const [api] = command.apis;
    if (!api) throw new Error('there is no server');
    const { body } = await api.call('GET', '/api/admin/nodes');
    expect(body['nodes']).toHaveLength(3);
    const { db_id: kept } = await api.running({ ...SANDBOX, name: 'kept' });
    expect((await api.get(kept)).body).toMatchObject({ status: 'running' });
    expect(await command.interrupt()).toBe(0);
    expect(await command.processes()).toEqual([]);
    expect(await left()).toEqual([]);
    await command.start(['--nodes', '3', '--processes', '1'], START_MS);
    const [again] = command.apis;
    await eventually(
      async () => expect((await again?.get(kept))?.body).toMatchObject({ name: 'kept', status: 'running' }),
      {
        timeoutMs: 60_000,
      },
    );
  });

  it('must refuse a number of nodes that it cannot start, in a line that says why', async () => {
    const beside = command.beside();
    expect(await beside.run(['--nodes', '10'])).toBe(1);
    expect(beside.output).toMatch(/^✗ --nodes 10 .*\n {2}Usage: npm run cluster -- --processes N/);
  });
});

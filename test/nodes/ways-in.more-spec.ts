import { type ApiClient, type NewContainer, SMALL } from '../support/clients/api-client';
import { PreviewClient } from '../support/clients/preview-client';
import { SshClient } from '../support/clients/ssh-client';
import { TestNodes } from '../support/docker/test-nodes';
import { eventually } from '../support/eventually';
import { Cluster } from '../support/servers/cluster';

jest.setTimeout(400_000);

const SERVER = 'hostname >/home/user/index.html; exec httpd -f -p 127.0.0.1:3000 -h /home/user';

describe('containers on several nodes', () => {
  const nodes = new TestNodes();
  let berth: Cluster;
  let clients: readonly [ApiClient, ...ApiClient[]];
  let containers: NewContainer[];

  beforeAll(async () => {
    await nodes.allWell();
    const environment = { ...nodes.environment, PREVIEW_PORT: '0', SSH_PORT: '0', DISK_QUOTA: 'off' };
    berth = await Cluster.start('ways-in', { processes: 2, environment });
    clients = await berth.user('enterprise', ['--scopes', 'read,write,exec']);
    const serving = { ...SMALL, start: { command: ['sh', '-c', SERVER] } };
    containers = await Promise.all(nodes.nodes.map(() => clients[0].running(serving)));
  });

  afterAll(async () => {
    await nodes.allWell();
    await berth.stop();
    for (const node of nodes.nodes) await node.removeInstance(berth.environment['INSTANCE_ID'] ?? '');
  });

  const hostOf = ({ name }: NewContainer): string => `${name}\n`;

  it('must each be on a node of its own', async () => {
    const own = `berth.instance=${berth.environment['INSTANCE_ID'] ?? ''}`;
    const listed = await Promise.all(nodes.nodes.map((node) => node.containers(own)));
    expect(listed.map(({ length }) => length)).toEqual(nodes.nodes.map(() => 1));
  });

  it('must show their ports through each process', async () => {
    for (const api of clients) {
      for (const container of containers) {
        const [port] = await eventually(async () => {
          const { body } = await api.call('GET', `/api/containers/${container.db_id}/ports`);
          expect(body['ports']).toMatchObject([{ port: 3000, addresses: ['127.0.0.1'] }]);
          return body['ports'] as { url: string }[];
        });
        const preview = new PreviewClient(String(port?.url));
        const headers = { 'berth-token': api.token };
        expect(await preview.call('/', { headers })).toMatchObject({ status: 200, text: hostOf(container) });
        expect((await preview.call('/')).status).toBe(401);
      }
    }
  });

  it('must be reached by SSH through each process', async () => {
    for (const api of clients) {
      const client = await SshClient.of({ api });
      for (const container of containers) {
        const ran = await client.ssh(container.db_id, ['hostname']);
        expect(ran).toMatchObject({ code: 0, stdout: hostOf(container) });
      }
      client.remove();
    }
  });
});

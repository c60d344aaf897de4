import type { NewContainer } from '../support/clients/api-client';
import { PreviewClient } from '../support/clients/preview-client';
import { eventually } from '../support/eventually';
import { Berth, type NewUser } from '../support/servers/berth';

jest.setTimeout(180_000);

/** A server of the test image, which is run after each start. */
const SERVER = 'echo hello >/home/user/index.html; exec httpd -f -p "$1" -h /home/user';

describe('a preview of a gVisor container', () => {
  let berth: Berth;
  let user: NewUser;

  beforeAll(async () => {
    berth = await Berth.start({ subject: 'previews', environment: { PREVIEW_PORT: '0' } });
    user = await berth.user();
  });
  afterAll(() => berth.stop());

  const serving = (address: string, body: object = {}): Promise<NewContainer> =>
    user.api.running({ start: { command: ['sh', '-c', SERVER, 'sh', address] }, ...body });
  async function portsOf({ db_id: id }: NewContainer): Promise<{ port: number; url: string }[]> {
    return (await user.api.call('GET', `/api/containers/${id}/ports`)).body['ports'] as { port: number; url: string }[];
  }
  const headers = (): Record<string, string> => ({ 'berth-token': user.token });

  it('must show what listens on all addresses, on loopback alone, and without a network', async () => {
    const containers = [
      await serving('0.0.0.0:3000'),
      await serving('127.0.0.1:3000'),
      await serving('0.0.0.0:3000', { network: 'none' }),
    ];
    for (const container of containers) {
      const [port] = await eventually(async () => {
        const found = await portsOf(container);
        expect(found).toMatchObject([{ port: 3000 }]);
        return found;
      });
      const client = new PreviewClient(String(port?.url));
      expect(await client.call('/', { headers: headers() })).toMatchObject({ status: 200, text: 'hello\n' });
      expect((await client.call('/')).status).toBe(401);
      await user.api.delete(container.db_id);
    }
  });

  it('must start a stopped container, wait for its server, and resume a paused one', async () => {
    const container = await serving('127.0.0.1:3000', { auto_start: true });
    const [port] = await eventually(async () => {
      const found = await portsOf(container);
      expect(found).toHaveLength(1);
      return found;
    });
    const client = new PreviewClient(String(port?.url));
    const visit = () => client.call('/', { headers: headers() });
    await user.api.stop(container.db_id);
    expect(await visit()).toMatchObject({ status: 200, text: 'hello\n' });
    await user.api.call('POST', `/api/containers/${container.db_id}/pause`);
    expect(await visit()).toMatchObject({ status: 200, text: 'hello\n' });
  });
});

import { eventually } from '../../../test/support/eventually.ts';
import { FakeEngine } from '../../../test/support/fakes/fake-engine.ts';
import { Berth as Server } from '../../../test/support/servers/berth.ts';
import { isSignedWith, type Received, WebhookReceiver } from '../../../test/support/servers/webhook-receiver.ts';
import { CommandLine } from './command-line.ts';

jest.setTimeout(120_000);

const IMAGE = process.env['TEST_IMAGE'] ?? 'berth/test:latest';

describe('berth webhooks', () => {
  let server: Server;
  let receiver: WebhookReceiver;
  let line: CommandLine;

  beforeAll(async () => {
    const environment = { WEBHOOK_ALLOWED_NETWORKS: 'loopback' };
    server = await Server.start({ engine: new FakeEngine(), environment });
    receiver = await WebhookReceiver.start();
    const { token } = await server.user('pro', ['admin', 'read', 'write']);
    line = await CommandLine.build({ BERTH_URL: server.url, BERTH_TOKEN: token });
  });
  afterAll(async () => {
    await receiver.stop();
    await server.stop();
    await line.remove();
  });

  const webhooks = (...args: readonly string[]) => line.berth('webhooks', ...args);
  const json = async (...args: readonly string[]): Promise<Record<string, unknown>[]> =>
    JSON.parse((await webhooks(...args, '--json')).stdout) as Record<string, unknown>[];

  it.each([
    ['of a user', []],
    ["for everybody's events", ['--all']],
  ] as const)('must make, show, test, pause and delete those %s, and repeat deliveries', async (_whose, all) => {
    const made = await webhooks('create', receiver.url, '-e', 'container_created', '-e', 'container_deleted', ...all);
    expect(made).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/^created [\da-f-]{36}; its secret/) as string,
    });
    const secret = made.stdout.trim();
    const [webhook] = await json('ls', ...all);
    const id = String(webhook?.['id']);
    expect(webhook).toMatchObject({ url: receiver.url, events: ['container_created', 'container_deleted'] });
    expect((await webhooks('ls', ...all)).stdout).toMatch(
      new RegExp(
        `^ID +URL +EVENTS +STATUS +WAITING .*\\n${id.slice(0, 8)} +${receiver.url} +container_created,.* active `,
      ),
    );

    expect(await webhooks('test', id.slice(0, 8), ...all)).toMatchObject({
      code: 0,
      stderr: 'webhook_test: delivered, 204\n',
    });
    const [tested] = receiver.got.slice(-1) as [Received];
    expect(isSignedWith(tested, secret)).toBe(true);

    expect(await line.berth('create', IMAGE, '--no-wait')).toMatchObject({ code: 0 });
    await eventually(() => expect(receiver.got.slice(-1)[0]).toMatchObject({ type: 'container_created' }));
    const [delivery] = await eventually(async () => {
      const delivered = await json('deliveries', id, '--status', 'delivered', ...all);
      expect(delivered).toHaveLength(2);
      return delivered;
    });
    expect((await webhooks('deliveries', id, ...all)).stdout).toMatch(
      /container_created +[\da-f]{8} +delivered +1 +204 /,
    );
    const again = await webhooks('redeliver', id, String(delivery?.['id']), ...all);
    expect(again).toMatchObject({ code: 0, stderr: 'container_created: delivered, 204\n' });
    expect(receiver.got.slice(-1)[0]).toMatchObject({ id: delivery?.['id'] });

    expect(await webhooks('pause', id, ...all)).toMatchObject({ code: 0, stderr: `${receiver.url}: paused\n` });
    expect(await webhooks('resume', id, ...all)).toMatchObject({ code: 0, stderr: `${receiver.url}: active\n` });
    expect((await webhooks('rotate-secret', id, ...all)).stdout).toMatch(/^whsec_[\w+/=]+\n$/);
    expect(await webhooks('rm', id, ...all)).toMatchObject({ code: 0, stderr: 'webhook deleted\n' });
    expect(await webhooks('test', id, ...all)).toMatchObject({ code: 4 });
    expect(await json('ls', ...all)).toEqual([]);
  });

  it('must say which addresses are refused', async () => {
    const refused = await webhooks('create', 'https://10.0.0.1/');
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain('url must not point to this address');
  });
});

import { createServer, type Server } from 'node:net';
import { Webhook } from 'standardwebhooks';
import { isSignedWith, type Received, WebhookReceiver } from '../../test/support/servers/webhook-receiver';
import { Destinations, NameResolver } from './destinations';
import { type Attempt, WebhookSender } from './sender';
import { signedHeaders } from './signing';

const NOW = new Date('2030-01-01T00:00:00.000Z');
const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const FORMER = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD';

/** A resolver that answers as the test says. */
class TestNames extends NameResolver {
  readonly asked: string[] = [];
  answer: () => string[] = () => ['127.0.0.1'];

  override resolve(name: string): Promise<string[]> {
    this.asked.push(name);
    return Promise.resolve(this.answer());
  }
}

describe('the signature of a message', () => {
  // The example of the reference implementation: https://github.com/standard-webhooks/standard-webhooks, libraries.
  it('must be that of Standard Webhooks', () => {
    const message = {
      id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      timestamp: new Date(1_614_265_330_000),
      body: '{"test": 2432232314}',
    };
    expect(signedHeaders(message, [SECRET])).toEqual({
      'webhook-id': message.id,
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    });
  });
});

describe('a message to a receiver', () => {
  let receiver: WebhookReceiver;
  let names: TestNames;
  let open: WebhookSender[] = [];

  beforeEach(async () => {
    receiver = await WebhookReceiver.start();
    names = new TestNames();
  });

  afterEach(async () => {
    for (const sender of open) sender.onApplicationShutdown();
    open = [];
    await receiver.stop();
  });

  function sender(...allowed: string[]): WebhookSender {
    const made = new WebhookSender(new Destinations({ WEBHOOK_ALLOWED_NETWORKS: allowed }), names);
    open.push(made);
    return made;
  }

  async function send(
    to: WebhookSender,
    { url = receiver.url, secrets = [SECRET], timestamp = NOW, signal = new AbortController().signal } = {},
  ): Promise<Attempt | null> {
    const body = JSON.stringify({
      type: 'container_started',
      timestamp: timestamp.toISOString(),
      data: { id: 'ü' },
    });
    return to.send({ url, id: 'delivery-1', timestamp, body, secrets }, signal);
  }

  const named = () => receiver.url.replace('127.0.0.1', 'hooks.example.com');

  it('must be signed as Standard Webhooks says, with the former secret too if there is one', async () => {
    const to = sender('loopback');
    // Receivers refuse what is older, or newer, than five minutes.
    const timestamp = new Date();
    expect(await send(to, { timestamp })).toMatchObject({ responseStatus: 204, responseBody: '', error: null });
    await send(to, { timestamp, secrets: [SECRET, FORMER] });
    const [once, twice] = receiver.got as [Received, Received];
    expect(once.headers).toMatchObject({ 'webhook-id': 'delivery-1', 'content-type': 'application/json' });
    expect(new Webhook(SECRET).verify(once.body, once.headers as Record<string, string>)).toMatchObject({ data: {} });
    expect(isSignedWith(once, SECRET)).toBe(true);
    expect(isSignedWith(once, FORMER)).toBe(false);
    for (const secret of [SECRET, FORMER]) expect(isSignedWith(twice, secret)).toBe(true);
  });

  it('must not be sent to an address in the URL that is not allowed', async () => {
    expect(await send(sender())).toMatchObject({ responseStatus: null, error: 'address_refused' });
    expect(await send(sender('10.0.0.0/8'))).toMatchObject({ error: 'address_refused' });
    expect(receiver.got).toEqual([]);
  });

  it('must not be sent to a name whose addresses are not allowed', async () => {
    names.answer = () => ['127.0.0.1', '::1', '10.0.0.1'];
    expect(await send(sender(), { url: named() })).toMatchObject({ error: 'address_refused' });
    expect(receiver.got).toEqual([]);
  });

  it('must be sent to the allowed ones of the addresses of a name', async () => {
    names.answer = () => ['10.0.0.1', '127.0.0.1'];
    expect(await send(sender('127.0.0.1'), { url: named() })).toMatchObject({ responseStatus: 204 });
  });

  it('must be sent to the address that was checked, although the name leads elsewhere the next time', async () => {
    // Resolved a second time between check and dial, it would lead to an address that is not allowed.
    names.answer = () => (names.asked.length === 1 ? ['127.0.0.1'] : ['127.0.0.2']);
    const to = sender('127.0.0.1');
    expect(await send(to, { url: named() })).toMatchObject({ responseStatus: 204 });
    expect(names.asked).toEqual(['hooks.example.com']);
    // The next connection is checked anew.
    await receiver.stop();
    receiver = await WebhookReceiver.start();
    expect(await send(to, { url: named() })).toMatchObject({ error: 'address_refused' });
    expect(receiver.got).toEqual([]);
  });

  it('must not follow a redirect', async () => {
    const elsewhere = await WebhookReceiver.start();
    receiver.answer = (_request, response) => {
      response.writeHead(307, { location: elsewhere.url }).end();
    };
    expect(await send(sender('loopback'))).toMatchObject({ responseStatus: 307, error: 'redirected' });
    expect(elsewhere.got).toEqual([]);
    await elsewhere.stop();
  });

  it.each([400, 404, 410, 429, 500, 503])('must count as failed when it is answered with %d', async (status) => {
    receiver.answer = () => status;
    expect(await send(sender('loopback'))).toMatchObject({ responseStatus: status, error: 'status_refused' });
  });

  it.each([
    ['seconds', '30', 30_000],
    ['a date', 'Tue, 01 Jan 2030 00:01:00 GMT', 60_000],
    ['a date that is over', 'Mon, 31 Dec 2029 00:00:00 GMT', 0],
    ['nonsense', 'soon', null],
  ])('must tell of Retry-After in %s', async (_form, value, retryAfterMs) => {
    for (const status of [429, 503]) {
      receiver.answer = (_request, response) => response.writeHead(status, { 'retry-after': value }).end();
      expect(await send(sender('loopback'))).toMatchObject({
        responseStatus: status,
        error: 'status_refused',
        retryAfterMs,
      });
    }
    receiver.answer = (_request, response) => response.writeHead(500, { 'retry-after': value }).end();
    expect(await send(sender('loopback'))).toMatchObject({ retryAfterMs: null });
  });

  it('must fail where the receiver switches protocols', async () => {
    receiver.answer = (_request, response) => {
      response.writeHead(101, { connection: 'upgrade', upgrade: 'other' }).end();
    };
    expect(await send(sender('loopback'))).toMatchObject({ responseStatus: null, error: 'connection_failed' });
  });

  it('must be sent once more at once where the receiver closed the kept connection', async () => {
    const to = sender('loopback');
    expect(await send(to)).toMatchObject({ responseStatus: 204 });
    receiver.answer = (_request, response) => {
      receiver.answer = () => 204;
      response.destroy();
    };
    expect(await send(to)).toMatchObject({ responseStatus: 204 });
    expect(receiver.got).toHaveLength(3);
  });

  it('must have no more of its answer read than 4,096 bytes, without NUL', async () => {
    receiver.answer = (_request, response) => {
      response.writeHead(200);
      response.write(`\0${'x'.repeat(10_000)}`);
      // Never ends.
    };
    const attempt = await send(sender('loopback'));
    expect(attempt).toMatchObject({ responseStatus: 200, error: null });
    expect(attempt?.responseBody).toBe(`\ufffd${'x'.repeat(4_095)}`);
  });

  it('must fail with its reason where there is no answer', async () => {
    const { url } = receiver;
    receiver.answer = (_request, response) => void response.destroy();
    expect(await send(sender('loopback'))).toMatchObject({ responseStatus: null, error: 'connection_failed' });
    await receiver.stop();
    expect(await send(sender('loopback'), { url })).toMatchObject({
      responseStatus: null,
      error: 'connection_refused',
    });
    jest.spyOn(names, 'resolve').mockRejectedValue(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }));
    expect(await send(sender('loopback'), { url: named() })).toMatchObject({ error: 'name_not_resolved' });
    receiver = await WebhookReceiver.start();
  });

  it('must fail where the receiver speaks no TLS', async () => {
    const server: Server = createServer((socket) => {
      socket.on('error', () => undefined).end('hello\n', () => socket.destroy());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const attempt = await send(sender('loopback'), { url: `https://127.0.0.1:${String(port)}/` });
    expect(attempt).toMatchObject({ responseStatus: null });
    expect(['certificate_refused', 'connection_failed']).toContain(attempt?.error);
    await new Promise((resolve) => server.close(resolve));
  });

  it('must have no outcome if it is cut off', async () => {
    const controller = new AbortController();
    receiver.answer = () => controller.abort();
    expect(await send(sender('loopback'), { signal: controller.signal })).toBeNull();
    expect(await send(sender('loopback'), { signal: controller.signal })).toBeNull();
  });
});

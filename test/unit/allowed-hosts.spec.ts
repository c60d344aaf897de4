import { Berth, TestUser } from '../support/servers/berth';
import { FakeEngine } from '../support/fakes/fake-engine';
import { type RawAnswer, RawConnection } from '../support/clients/raw-connection';

const HANDSHAKE =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';

let berth: Berth;
let user: TestUser;

async function start(environment: Record<string, string>): Promise<void> {
  berth = await Berth.start({ engine: new FakeEngine(), environment });
  user = await berth.user();
}

async function stop(): Promise<void> {
  RawConnection.closeAll();
  await berth.stop();
}

/** @param target such as `GET /api/me` */
function ask(target: string, host: string | null, headers = ''): Promise<RawAnswer> {
  const url = new URL(berth.url);
  const named = host === null ? '' : `Host: ${host}\r\n`;
  const version = host === null ? '1.0' : '1.1';
  const text = `${target} HTTP/${version}\r\n${named}Authorization: Bearer ${user.token}\r\n${headers}\r\n`;
  return new RawConnection(`http://127.0.0.1:${url.port}`).write(text).next();
}

async function expectMisdirected(answer: Promise<RawAnswer>): Promise<void> {
  const { status, headers, body } = await answer;
  expect([status, JSON.parse(body)]).toEqual([
    421,
    { error: 'misdirected request', code: 'misdirected_request', request_id: headers['x-request-id'] },
  ]);
}

const FOREIGN = [
  'evil.example',
  'evil.example:8080',
  '127.0.0.1.evil.example',
  'localhost.evil.example',
  'notlocalhost',
  'berth.example.evil.example',
  'xberth.example',
  'user@127.0.0.1',
  '[evil]',
  '[::1',
  '127.0.0.1:80:evil.example',
  '2130706433',
  '0x7f.1',
  ':8080',
];

describe('a server with names', () => {
  beforeAll(() => start({ ALLOWED_HOSTS: 'Berth.example, *.sandbox.example', GUEST_LOGIN: 'allow' }));
  afterEach(() => RawConnection.closeAll());
  afterAll(stop);

  it('must answer to addresses, localhost, names below it, and its own names', async () => {
    for (const host of [
      '127.0.0.1',
      '192.0.2.7:8080',
      '[::1]',
      '[2001:db8::1]:8080',
      'localhost',
      'LOCALHOST:8080',
      'localhost.',
      'app.localhost:3000',
      'berth.example',
      'BERTH.example:443',
      'berth.example.',
      'a.sandbox.example',
      'a.b.sandbox.example',
      '',
      null,
    ]) {
      expect([host, (await ask('GET /api/me', host)).status]).toEqual([host, 200]);
    }
  });

  it.each(FOREIGN)('must answer 421 to %p, whatever is asked', async (host) => {
    for (const target of [
      'GET /api/me',
      'POST /api/auth/guest',
      'GET /',
      'GET /nothing',
      'OPTIONS /api/me',
      'GET /metrics',
    ]) {
      await expectMisdirected(ask(target, host));
    }
    await expectMisdirected(ask('GET /socket.io/?EIO=4&transport=polling', host));
    await expectMisdirected(ask('GET /socket.io/?EIO=4&transport=websocket', host, HANDSHAKE));
    await expectMisdirected(ask('GET /api/me', host, 'Connection: Upgrade\r\nUpgrade: h2c\r\n'));
  });

  it('must not be deceived by the host that a target may have too', async () => {
    await expectMisdirected(ask('GET http://evil.example/api/me', '127.0.0.1'));
    await expectMisdirected(ask('GET http://127.0.0.1/api/me', 'evil.example'));
    await expectMisdirected(
      ask('GET http://evil.example/socket.io/?EIO=4&transport=websocket', 'localhost', HANDSHAKE),
    );
    expect((await ask('GET http://berth.example/api/me', 'localhost')).status).toBe(200);
  });

  it('must answer probes by any name', async () => {
    expect((await ask('GET /health/live', 'evil.example')).status).toBe(200);
    const ready = await ask('GET /health/ready', '10-0-0-1.pod.cluster.local');
    expect([ready.status, JSON.parse(ready.body)]).toEqual([200, expect.objectContaining({ hosts: 'listed' })]);
  });
});

describe('a server', () => {
  afterEach(stop);

  it.each(['127.0.0.1', 'localhost'])('on %s must have its own names alone by default', async (HOST) => {
    await start({ HOST });
    await expectMisdirected(ask('POST /api/auth/guest', 'evil.example'));
    expect((await ask('GET /api/me', 'localhost')).status).toBe(200);
  });

  it('beyond loopback without names must answer to any, and say so', async () => {
    await start({ HOST: '0.0.0.0' });
    expect((await ask('GET /api/me', 'berth.example')).status).toBe(200);
    const ready = await ask('GET /health/ready', 'berth.example');
    expect(JSON.parse(ready.body)).toMatchObject({ hosts: 'any', status: 'ok' });
  });

  it('beyond loopback with names must answer to them alone', async () => {
    await start({ HOST: '0.0.0.0', ALLOWED_HOSTS: 'berth.example' });
    expect((await ask('GET /api/me', 'berth.example')).status).toBe(200);
    await expectMisdirected(ask('GET /api/me', 'evil.example'));
    expect(JSON.parse((await ask('GET /health/ready', 'x')).body)).toMatchObject({ hosts: 'listed' });
  });
});

import { once } from 'node:events';
import { connect, Socket } from 'node:net';
import { promisify } from 'node:util';
import { ContainerEntity } from '../../src/containers/model/container.entity';
import { Database } from '../../src/database';
import { Listeners } from '../../src/http';
import { PreviewClient } from '../support/clients/preview-client';
import type { NewContainer } from '../support/clients/api-client';
import { RawConnection } from '../support/clients/raw-connection';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { Berth, type NewUser } from '../support/servers/berth';
import { PreviewApplication } from '../support/servers/preview-application';

describe('a hostile use of previews', () => {
  const daemon = new FakeDaemon();
  const application = new PreviewApplication();
  const { seen } = application;
  let berth: Berth;
  let user: NewUser;
  let container: NewContainer;
  let host: string;
  let listener: string;
  let client: PreviewClient;

  beforeAll(async () => {
    await application.start(daemon);
    berth = await Berth.start({ engine: new FakeEngine(daemon), environment: { PREVIEW_PORT: '0' } });
    user = await berth.user();
    container = await user.api.running();
    const url = await urlOf(container, user);
    host = new URL(url).host;
    listener = `http://127.0.0.1:${new URL(url).port}`;
    client = new PreviewClient(url);
  });
  beforeEach(() => application.forget());
  afterEach(() => RawConnection.closeAll());
  afterAll(async () => {
    await berth.stop();
    application.stop();
  });

  async function urlOf({ db_id: id }: NewContainer, { api }: NewUser): Promise<string> {
    const { body } = await api.call('GET', `/api/containers/${id}/ports`);
    return String((body['ports'] as { url: string }[])[0]?.url);
  }
  async function linkTo({ db_id: id }: NewContainer, { api }: NewUser, body: object = {}): Promise<string> {
    const { body: made } = await api.call('POST', `/api/containers/${id}/ports/3000/links`, body);
    return String(made['token']);
  }
  const owns = (): Record<string, string> => ({ 'berth-token': user.token });
  /** Sends bytes to the listener. */
  const send = (...lines: string[]): RawConnection => new RawConnection(listener).write(lines.join('\r\n'));
  /** Connections that the listener has open. */
  const openConnections = (): Promise<number> => {
    const server = berth.app.get(Listeners).all.get('previews');
    if (!server) throw new Error('no listener');
    return promisify(server.getConnections.bind(server))();
  };
  const secret = (): string => `Berth-Token: ${user.token}`;

  describe('by requests that two servers read differently', () => {
    const chunk = '0\r\n\r\n';

    it.each<[string, () => string[]]>([
      ['two lengths', () => [`Host: ${host}`, 'Content-Length: 5', 'Content-Length: 6', secret(), '', 'abcdef']],
      ['a length and a coding', () => [`Host: ${host}`, 'Content-Length: 5', 'Transfer-Encoding: chunked', '', chunk]],
      [
        'a coding that is not chunked',
        () => [`Host: ${host}`, 'Transfer-Encoding: gzip, chunked', secret(), '', chunk],
      ],
      ['chunked twice', () => [`Host: ${host}`, 'Transfer-Encoding: chunked, chunked', secret(), '', chunk]],
      ['an unknown coding', () => [`Host: ${host}`, 'Transfer-Encoding: xchunked', secret(), '', chunk]],
      ['chunked, not last', () => [`Host: ${host}`, 'Transfer-Encoding: chunked, identity', secret(), '', chunk]],
      ['a space before the colon', () => [`Host: ${host}`, 'Transfer-Encoding : chunked', secret(), '', chunk]],
      ['a negative length', () => [`Host: ${host}`, 'Content-Length: -1', secret(), '', '']],
      ['two hosts', () => [`Host: ${host}`, `Host: ${host}`, secret(), '', '']],
      ['no host', () => [secret(), '', '']],
      ['a folded host', () => [`Host: ${host}`, ' evil.example', secret(), '', '']],
      ['a NUL in a header', () => [`Host: ${host}`, 'X: a\0b', secret(), '', '']],
    ])('must be refused with %s, and reach no application', async (_what, lines) => {
      const { status } = await send('POST / HTTP/1.1', ...lines()).next();
      expect([400, 421]).toContain(status);
      expect(seen).toEqual([]);
    });

    it.each(['http://evil.example/', `http://localhost/`, '//', 'x'])(
      'must be refused with the target %s, or be taken as a path',
      async (target) => {
        const connection = send(`GET ${target} HTTP/1.1`, `Host: ${host}`, secret(), '', '');
        const { status } = await connection.next();
        if (target.startsWith('/'))
          expect(seen.map(({ url, headers }) => [url, headers.host])).toEqual([['//', 'localhost:3000']]);
        else {
          expect(status).toBe(400);
          expect(seen).toEqual([]);
        }
      },
    );

    it('must be one request where Connection names its length away', async () => {
      const inner = `GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n`;
      const length = `Content-Length: ${String(inner.length)}`;
      const connection = send(
        'GET /outer HTTP/1.1',
        `Host: ${host}`,
        'Connection: close, content-length',
        length,
        secret(),
        '',
        inner,
      );
      expect((await connection.next()).status).toBe(200);
      expect(seen.map(({ url, headers }) => [url, headers['content-length']])).toEqual([
        ['/outer', String(inner.length)],
      ]);
    });

    it('must have each request of a connection admitted by itself', async () => {
      const connection = send('GET /first HTTP/1.1', `Host: ${host}`, secret(), '', '');
      expect((await connection.next()).status).toBe(200);
      connection.write(`GET /second HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      expect((await connection.next()).status).toBe(401);
      expect(seen.map(({ url }) => url)).toEqual(['/first']);
    });

    it('must be no way to another protocol', async () => {
      const h2c = ['Connection: Upgrade', 'Upgrade: h2c', secret(), '', ''];
      expect((await send('GET / HTTP/1.1', `Host: ${host}`, ...h2c).next()).status).toBe(426);
      const posted = ['Connection: Upgrade', 'Upgrade: websocket', 'Content-Length: 0', secret(), '', ''];
      expect((await send('POST / HTTP/1.1', `Host: ${host}`, ...posted).next()).status).toBe(426);
      const tunnel = send('CONNECT 169.254.169.254:80 HTTP/1.1', `Host: ${host}`, secret(), '', '');
      await eventually(() => expect(tunnel.closed).toBe(true));
      expect(seen).toEqual([]);
    });

    it('must not say by other spellings where it comes from, nor show the token', async () => {
      const headers = { ...owns(), x_forwarded_for: '127.0.0.1', berth_token: 'secret' };
      expect((await client.call('/', { headers })).status).toBe(200);
      expect(Object.keys(seen[0]?.headers ?? {}).filter((name) => name.includes('_'))).toEqual([]);
    });
  });

  describe('by ports', () => {
    const portsOf = (port: string): string => `/api/containers/${container.db_id}/ports/${port}`;

    it.each(['0', '65536', '22%20', '%2022', '-1', '1e3', '022', '22.0', '0x16', '%D9%A1', '99999999999', '22%00'])(
      'must be refused with the port "%s"',
      async (port) => {
        const answers = [
          await user.api.call('PUT', portsOf(port), { access: 'public' }),
          await user.api.call('POST', `${portsOf(port)}/links`, {}),
          await user.api.call('GET', `${portsOf(port)}/links`),
          await user.api.call('DELETE', `${portsOf(port)}/links/${container.db_id}`),
        ];
        for (const { status, body } of answers) {
          expect({ status, code: body['code'] }).toEqual({ status: 400, code: 'invalid_parameters' });
        }
      },
    );
  });

  describe("by another one's secrets", () => {
    it("must be refused with a cookie or link of another user's container, and of another of one's own", async () => {
      const other = await berth.user();
      const theirs = await other.api.running();
      const sibling = await user.api.running();
      for (const token of [await linkTo(theirs, other), await linkTo(sibling, user)]) {
        const cookie = `__Host-berth-preview=${token}`;
        expect((await client.call('/', { headers: { cookie } })).status).toBe(401);
        expect((await client.call('/', { headers: { 'berth-token': token } })).status).toBe(401);
        expect(await client.upgrade('/', { cookie })).toMatchObject({ statusCode: 401 });
      }
      const to = new PreviewClient(await urlOf(theirs, other));
      expect((await to.call('/', { headers: owns() })).status).toBe(403);
      expect(seen).toEqual([]);
    });

    it("must not show the links of another user's container, nor revoke or make one", async () => {
      const other = await berth.user();
      const token = await linkTo(container, user);
      const path = `/api/containers/${container.db_id}/ports/3000/links`;
      const { body } = await user.api.call('GET', path);
      const [{ id }] = body['links'] as [{ id: string }];
      expect((await other.api.call('GET', path)).status).toBe(403);
      expect((await other.api.call('POST', path, {})).status).toBe(403);
      expect((await other.api.call('DELETE', `${path}/${id}`)).status).toBe(403);
      expect((await client.call('/', { headers: { 'berth-token': token } })).status).toBe(200);
      // Nor by way of a container of one's own.
      const own = await other.api.running();
      const through = `/api/containers/${own.db_id}/ports/3000/links/${id}`;
      expect((await other.api.call('DELETE', through)).body).toMatchObject({ code: 'link_not_found' });
    });

    it('must be slowed down after many wrong tokens, which disturbs nobody who has a right one', async () => {
      const environment = { PREVIEW_PORT: '0', RATE_LIMIT_REFUSALS_PER_MINUTE: '5' };
      const strict = await Berth.start({ engine: new FakeEngine(daemon), environment });
      try {
        const owner = await strict.user();
        const own = await owner.api.running();
        const to = new PreviewClient(await urlOf(own, owner));
        const right = { 'berth-token': await linkTo(own, owner) };
        const statusWith = async (headers: Record<string, string>): Promise<number> =>
          (await to.call('/', { headers })).status;
        expect(await statusWith(right)).toBe(200);
        const statuses: number[] = [];
        for (let at = 0; at < 7; at += 1) statuses.push(await statusWith({ 'berth-token': `wrong-${String(at)}` }));
        expect(statuses).toEqual([401, 401, 401, 401, 401, 429, 429]);
        const headers = { 'content-type': 'application/json' };
        const body = JSON.stringify({ token: 'preview_unknown' });
        expect((await to.call('/.berth/session', { method: 'POST', headers, body })).status).toBe(429);
        expect(await statusWith(right)).toBe(200);
        expect(await statusWith({})).toBe(401);
      } finally {
        await strict.stop();
      }
    });
  });

  describe('by an application', () => {
    it.each(['/not-http', '/status-99', '/unasked-101', '/bare-101', '/long-head', '/broken'])(
      'must be an answer in words where it sends %s',
      async (path) => {
        const answer = await client.call(path, { headers: owns() });
        expect(answer.status).toBe(502);
        expect(JSON.parse(answer.text)).toMatchObject({ code: 'application_failed' });
      },
    );

    it('must be an answer in words to a WebSocket, too, where it changes to no named protocol', async () => {
      const answer = await client.upgrade('/bare-101', owns());
      expect(answer).toMatchObject({ statusCode: 502 });
    });

    it('must not be read differently by two servers where it sends two lengths', async () => {
      const { status, headers } = await client.call('/both-lengths', { headers: owns() });
      expect([200, 502]).toContain(status);
      if (status === 200) expect('content-length' in headers && 'transfer-encoding' in headers).toBe(false);
    });

    it('must break the connection off where it breaks off, so that nobody takes half for all', async () => {
      await expect(client.call('/cut', { headers: owns() })).rejects.toThrow(/aborted|socket hang up/);
    });

    it('must be given to the visitor, not followed, where it redirects', async () => {
      const answer = await client.call('/redirect', { headers: owns() });
      expect(answer).toMatchObject({ status: 302, headers: { location: 'http://169.254.169.254/latest/' } });
      expect(application.dialled).toEqual([container.id]);
    });

    it('must be passed on where it answers before the end of a body, which it then need not read', async () => {
      const connection = send(
        'POST /early HTTP/1.1',
        `Host: ${host}`,
        secret(),
        'Content-Length: 1000000',
        '',
        'begun',
      );
      expect(await connection.next()).toMatchObject({ status: 413, body: 'big' });
      connection.write('x'.repeat(200_000));
      expect(seen).toHaveLength(1);
    });
  });

  describe('by its own pages', () => {
    const json = { 'content-type': 'application/json' };
    const session = (body: string, headers: Record<string, string> = json) =>
      client.call('/.berth/session', { method: 'POST', headers, body });

    it.each(['', 'null', '[]', '{"token":1}', '{"token":null}', '{', '"x"'])(
      'must refuse the body %s',
      async (body) => {
        expect((await session(body)).status).toBe(400);
      },
    );

    it('must refuse a long body, and another method', async () => {
      expect((await session(`"${'x'.repeat(10_000)}"`)).status).toBe(413);
      expect((await client.call('/.berth/session')).status).toBe(404);
      expect((await client.call('/.berth/%2e%2e/', { headers: owns() })).status).toBe(404);
    });

    it('must be served under no other name', async () => {
      for (const name of ['evil.example', 'preview.localhost', `x.${host}`, `${host}.evil.example`, '127.0.0.1']) {
        expect((await session('{"token":"x"}', { ...json, host: name })).status).toBe(421);
      }
    });
  });

  it.each([
    ['Berth', '/', () => 'X-None: y'],
    ['the application', '/refused', secret],
  ])(
    'closes the connection of a WebSocket that %s refuses, though its client keeps it open',
    async (_who, path, field) => {
      const handshake = ['Connection: Upgrade', 'Upgrade: websocket', field()];
      const { port } = new URL(listener);
      const socket = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true });
      socket.write([`GET ${path} HTTP/1.1`, `Host: ${host}`, ...handshake, '', ''].join('\r\n'));
      await once(socket.resume(), 'end');
      await eventually(async () => expect(await openConnections()).toBe(0));
      expect(socket.writable).toBe(true);
      socket.destroy();
    },
  );

  it('counts the refusals of visitors without a link by address, and disturbs no others', async () => {
    const environment = { PREVIEW_PORT: '0', RATE_LIMIT_PER_MINUTE: '6' };
    const strict = await Berth.start({ engine: new FakeEngine(daemon), environment });
    try {
      const owner = await strict.user();
      const own = await owner.api.running();
      const to = new PreviewClient(await urlOf(own, owner));
      const token = await linkTo(own, owner);
      const statusWith = async (headers: Record<string, string>): Promise<number> =>
        (await to.call('/', { headers })).status;
      const statuses: number[] = [];
      for (let at = 0; at < 8; at += 1) statuses.push(await statusWith({}));
      expect(statuses).toEqual([401, 401, 401, 401, 401, 401, 429, 429]);
      expect(await statusWith({ 'berth-token': token })).toBe(200);
      expect((await owner.api.call('GET', '/api/me')).status).toBe(200);
    } finally {
      await strict.stop();
    }
  });

  it('must have no more connections of an address than CONNECTION_LIMIT', async () => {
    const environment = { PREVIEW_PORT: '0', CONNECTION_LIMIT: '5' };
    const strict = await Berth.start({ engine: new FakeEngine(new FakeDaemon()), environment });
    try {
      const { api } = await strict.user();
      const { db_id: id } = await api.running();
      const { body } = await api.call('PUT', `/api/containers/${id}/ports/3000`, { access: 'private' });
      const at = `http://127.0.0.1:${new URL(String(body['url'])).port}`;
      const connections = Array.from({ length: 8 }, () => new RawConnection(at));
      await eventually(() => expect(connections.filter(({ closed }) => closed)).toHaveLength(3));
      expect((await new RawConnection(at, '127.0.0.9').write('GET / HTTP/1.1\r\n\r\n').next()).status).toBe(400);
    } finally {
      await strict.stop();
    }
  });

  it('must ask the application nothing for a visitor who has gone, or lost access, while it connects', async () => {
    for (const leave of ['visitor', 'link'] as const) {
      let begun = (): void => undefined;
      let goOn = (): void => undefined;
      const dialling = new Promise<void>((resolve) => (begun = resolve));
      const held = new Promise<void>((resolve) => (goOn = resolve));
      application.beforeConnect = () => {
        begun();
        return held;
      };
      const path = `/api/containers/${container.db_id}/ports/3000/links`;
      const { body } = await user.api.call('POST', path, {});
      const connection = send('GET /late HTTP/1.1', `Host: ${host}`, `Berth-Token: ${String(body['token'])}`, '', '');
      await dialling;
      if (leave === 'visitor') connection.socket.destroy();
      else await user.api.call('DELETE', `${path}/${String(body['id'])}`);
      await eventually(() => expect(connection.closed).toBe(true));
      // The server has noticed it as well: its connections are those of its metrics.
      goOn();
      await eventually(async () => {
        const metrics = await (await fetch(`${berth.url}/metrics`)).text();
        expect(metrics).toMatch(/^berth_preview_connections\{kind="request"\} 0$/m);
      });
      expect(seen).toEqual([]);
      application.forget();
    }
  });

  it('must end what is open when the container is deleted, restarted, or its run ends behind the API', async () => {
    const ends: [string, (of: NewContainer) => Promise<unknown>][] = [
      ['deleted', ({ db_id: id }) => user.api.delete(id)],
      [
        'started again',
        async ({ db_id: id }) => {
          await user.api.stop(id);
          await user.api.start(id);
        },
      ],
      ['resized', ({ db_id: id }) => user.api.patch(id, { memory_mb: 512 })],
    ];
    for (const [what, end] of ends) {
      const own = await user.api.running();
      const socket = await new PreviewClient(await urlOf(own, user)).upgrade('/', owns());
      if (!(socket instanceof Socket)) throw new Error(`${what}: refused`);
      const closed = once(socket.on('error', () => undefined).resume(), 'close');
      await end(own);
      await closed;
    }
  });

  it('must leave open what is open when the row learns of a start only later', async () => {
    const own = await user.api.running();
    await user.api.stop(own.db_id);
    await user.api.start(own.db_id);
    const socket = await new PreviewClient(await urlOf(own, user)).upgrade('/', owns());
    if (!(socket instanceof Socket)) throw new Error('refused');
    let isClosed = false;
    socket.on('error', () => undefined).on('close', () => (isClosed = true));
    // Its next event makes every open preview be decided anew.
    await user.api.call('PUT', `/api/containers/${own.db_id}/ports/3000`, { access: 'private' });
    await eventually(async () => {
      const { manager } = berth.app.get(Database);
      expect((await manager.findOneByOrFail(ContainerEntity, { id: own.db_id })).runStartedAt).not.toBeNull();
    });
    await user.api.call('PUT', `/api/containers/${own.db_id}/ports/3000`, { access: 'private' });
    socket.write('still here');
    expect(String((await once(socket, 'data'))[0])).toBe('still here');
    expect(isClosed).toBe(false);
    socket.destroy();
  });
});

import { TokenService } from '../../src/auth';
import type { TerminalSession } from '../../src/sandbox/terminals/terminal-session';
import { KeptPrograms } from '../../src/sandbox/programs/kept-programs';
import { Terminals } from '../../src/sandbox/terminals/terminals';
import { LARGER, NewContainer } from '../support/clients/api-client';
import { Berth, type TestUser } from '../support/servers/berth';
import { collectGarbage } from '../support/collect-garbage';
import { eventually } from '../support/eventually';
import { PlainTerminal, TerminalClient } from '../support/clients/terminal-client';

jest.setTimeout(120_000);

let server: Berth;
let user: TestUser;
let container: NewContainer;
let clients: (TerminalClient | PlainTerminal)[] = [];

beforeAll(async () => {
  server = await Berth.start({ subject: 'terminals' });
  user = await server.user('enterprise', ['read', 'write', 'exec']);
  container = await user.api.running({ custom_image: process.env['TEST_SANDBOX_IMAGE'] });
});

afterEach(async () => {
  for (const client of clients) client.leave();
  clients = [];
  // Of those that a test has left, but for what it stopped.
  const path = `/api/containers/${container.db_id}/terminals`;
  const { terminals = [] } = (await user.api.call('GET', path)).body as { terminals?: { id: string }[] };
  await Promise.all(terminals.map(({ id }) => user.api.call('DELETE', `${path}/${id}`)));
});

afterAll(() => server.stop());

/** The sessions that the server holds. */
function sessionsNow(): TerminalSession[] {
  const { sessions } = server.app.get<{ sessions: Map<string, TerminalSession> }>(Terminals);
  return [...sessions.values()];
}

/** What a server knows of the output that it has sent to a client. */
interface SentOutput {
  readonly position: number;
  readonly unacknowledged: number;
  readonly unwritten: number;
}

function connect(auth: object = {}, options: ConstructorParameters<typeof TerminalClient>[2] = {}): TerminalClient {
  const whole = { token: user.token, container: container.id, cols: 80, rows: 24, ...auth };
  const client = new TerminalClient(server.url, whole, options);
  clients.push(client);
  return client;
}

function plain(
  query: string,
  options: ConstructorParameters<typeof PlainTerminal>[1] = { headers: { authorization: `Bearer ${user.token}` } },
  protocols?: string[],
): PlainTerminal {
  const client = new PlainTerminal(`${server.url}/ws/terminal/${container.id}${query}`, options, protocols);
  clients.push(client);
  return client;
}

const processes = (): Promise<string> => server.docker.exec(container.id, ['ps', '-eo', 'args']);

/** At the beginning of a line: each command is echoed too. */
const shown = (text: string): RegExp => new RegExp(`[\\r\\n]${text}`);

describe('a terminal over Socket.IO', () => {
  it('must be a log-in shell in the home directory: echo, size, colours, UTF-8, interrupt, exit code', async () => {
    const client = await connect({ cols: 132, rows: 43 }).opened();
    client.type('shopt -q login_shell && echo "login-$((1+1))"; pwd; echo $TERM; stty size\n');
    await client.says(shown('login-2'));
    await client.says(/[\r\n]\/home\/user\r\nxterm-256color\r\n43 132/);
    expect(await client.ask('resize', { cols: 100, rows: 30 })).toEqual({ ok: true });
    client.type('stty size\n');
    await client.says(shown('30 100'));
    client.type('printf "%s\\n" "grün-✓-🚢"\n');
    await client.says(/[\r\n]grün-✓-🚢/);
    client.type('sleep 7801; echo "after-$((1+1))"\n');
    await eventually(async () => expect(await processes()).toContain('sleep 7801'));
    client.type('\u0003');
    await eventually(async () => expect(await processes()).not.toContain('sleep 7801'));
    client.type('exit 7\n');
    await eventually(() => expect(client.exit).toEqual({ code: 7, reason: 'exited' }));
    await eventually(() => expect(client.disconnects).toEqual(['io server disconnect']));
  });

  it('must replay to a client that comes back from where it was, and say what is lost', async () => {
    const first = await connect().opened();
    first.type('echo "one-$((1+1))"\n');
    await first.says(shown('one-2'));
    const { session, end } = first;
    first.socket.close();
    await eventually(() => expect(sessionsNow()).toHaveLength(0));
    const second = await connect({ session, after: end }).opened();
    expect(second.attached).toMatchObject({ session, offset: end, gap: false, role: 'writer' });
    second.type('echo "two-$((1+1))"\n');
    await second.says(shown('two-2'));
    expect(second.text).not.toContain('one-2');
    second.type('head -c 1000000 /dev/zero | tr "\\0" x; echo "three-$((1+1))"\n');
    await second.says('three-2');
    second.socket.close();
    await eventually(() => expect(sessionsNow()).toHaveLength(0));
    const third = await connect({ session, after: end }).opened();
    expect(third.attached).toMatchObject({ gap: true });
    await third.says('three-2');
    expect(third.bytes).toBeLessThan(300_000);
  });

  it('lists its programs when its client has gone, and goes on as long as there are any', async () => {
    const client = await connect().opened();
    client.type('sleep 7803 &\n');
    await eventually(async () => expect(await processes()).toContain('sleep 7803'));
    const listed = async (): Promise<unknown> =>
      (await user.api.call('GET', `/api/containers/${container.id}/terminals`)).body['terminals'];
    expect(await listed()).toMatchObject([{ clients: 1, programs: null }]);
    client.socket.close();
    await eventually(() => expect(sessionsNow()).toHaveLength(0));
    expect(await listed()).toMatchObject([{ clients: 0, programs: ['sleep'] }]);
    // As after five minutes.
    const place = { id: container.db_id, userId: user.id, engineId: container.id };
    const [terminal] = await server.app.get(KeptPrograms).list(place, 'terminal');
    const idle = server.app.get<{ endIdle(terminal: unknown): Promise<void> }>(Terminals);
    await idle.endIdle(terminal);
    expect(await listed()).toHaveLength(1);
    await server.docker.exec(container.id, ['pkill', '-f', 'sleep 7803']);
    await eventually(async () => {
      await idle.endIdle(terminal);
      expect(await listed()).toEqual([]);
    });
  });

  it('must hold a flood back for a client that acknowledges nothing, and still be interrupted', async () => {
    const client = await connect({}, { acknowledges: false }).opened();
    client.type('yes 7901\n');
    await eventually(() => expect(client.bytes).toBe(256 * 1024));
    const before = process.memoryUsage().rss;
    const cpu = await server.docker.exec(container.id, ['sh', '-c', 'sleep 1; cat /proc/*/cmdline | tr "\\0" " "']);
    expect(cpu).toContain('yes 7901');
    expect(client.bytes).toBe(256 * 1024);
    expect(process.memoryUsage().rss - before).toBeLessThan(32 * 2 ** 20);
    client.type('\u0003');
    client.acknowledges = true;
    client.socket.emit('ack', client.bytes);
    await eventually(async () => expect(await processes()).not.toContain('yes 7901'));
    client.type('echo "calm-$((1+1))"\n');
    await client.says(shown('calm-2'));
  });

  it('must refuse an acknowledgement of more than was sent, and end the connection', async () => {
    const client = await connect({}, { acknowledges: false }).opened();
    for (const wrong of ['1', -1, 0, 1.5, null]) client.socket.emit('ack', wrong);
    await eventually(() => expect(client.refused.map(({ code }) => code)).toEqual(Array(5).fill('invalid_parameters')));
    client.socket.emit('ack', Number.MAX_SAFE_INTEGER);
    await eventually(() => expect(client.refused.at(-1)).toEqual({ code: 'invalid_ack', error: expect.any(String) }));
    await eventually(() => expect(client.disconnects).toEqual(['io server disconnect']));
    await eventually(() => expect(sessionsNow()).toHaveLength(0));
  });

  it('must keep no more than a bound for a client that acknowledges all and reads nothing', async () => {
    const client = await connect({}, { acknowledges: false }).opened();
    const [session] = sessionsNow();
    const [attachment] = [...(session as unknown as { attachments: Set<SentOutput> }).attachments];
    if (!attachment) throw new Error('nothing is attached');
    const { ws } = client.socket.io.engine.transport as unknown as { ws: { pause(): void } };
    client.type('yes 7903\n');
    await eventually(() => expect(client.bytes).toBe(256 * 1024));
    ws.pause();
    const before = process.memoryUsage().arrayBuffers;
    // As fast as a client could that read: some MiB go into the kernel's buffers, and then no more is sent.
    for (let sent = -1; attachment.position > sent;) {
      sent = attachment.position;
      expect(sent).toBeLessThan(64 * 2 ** 20);
      if (attachment.unacknowledged > 0) client.socket.emit('ack', attachment.unacknowledged);
      await eventually(() => {
        const { position, unacknowledged, unwritten } = attachment;
        expect(unwritten).toBeLessThanOrEqual(256 * 1024);
        expect(position > sent || (unacknowledged === 0 && unwritten > 0)).toBe(true);
      });
    }
    await collectGarbage();
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 2 ** 20);
    expect([client.disconnects, session?.clients]).toEqual([[], 1]);
  });

  it('must flow by polls too', async () => {
    const client = await connect({}, { transports: ['polling'] }).opened();
    client.type('head -c 1000000 /dev/zero | tr "\\0" x; echo "done-$((1+1))"\n');
    await client.says('done-2');
    expect(client.bytes).toBeGreaterThan(1_000_000);
  });

  it('must have one who writes, while others watch, until one takes over', async () => {
    const one = await connect().opened();
    const two = await connect({ session: one.session }).opened();
    expect([one.attached?.role, two.attached?.role]).toEqual(['writer', 'watcher']);
    expect(await two.ask('input', 'echo no\n')).toMatchObject({ code: 'not_writer' });
    one.type('echo "seen-$((1+1))"\n');
    await two.says(shown('seen-2'));
    const three = await connect({ session: one.session, takeover: true }).opened();
    await eventually(() => expect(one.roles).toEqual(['watcher']));
    one.type('echo no\n');
    await eventually(() => expect(one.refused).toMatchObject([{ code: 'not_writer' }]));
    three.type('echo "taken-$((1+1))"\n');
    await one.says(shown('taken-2'));
    expect(one.text).not.toContain('echo no');
    const { body } = await user.api.call('GET', `/api/containers/${container.id}/terminals`);
    expect(body).toEqual({
      terminals: [{ id: one.session, started_at: expect.any(String), clients: 3, programs: null }],
    });
  });

  it('must refuse what is wrong, by name, and have at most eight terminals a container', async () => {
    const stranger = await server.user('enterprise', ['read', 'write', 'exec']);
    const weaker = await server.user('enterprise', ['read', 'write', 'admin']);
    const wrong: [object, object][] = [
      [{ token: 'berth_x' }, { code: 'unauthorized' }],
      [{ token: weaker.token }, { code: 'insufficient_permissions' }],
      [{ token: stranger.token }, { code: 'not_authorized' }],
      [{ container: 'f'.repeat(64) }, { code: 'container_not_found' }],
      [{ cols: 0 }, { code: 'invalid_parameters', details: [expect.objectContaining({ field: 'cols' })] }],
      [{ session: container.db_id }, { code: 'terminal_not_found' }],
    ];
    for (const [auth, data] of wrong) {
      const client = connect(auth);
      await eventually(() => expect(client.refusal?.data).toMatchObject(data));
    }
    const client = await connect().opened();
    expect(await client.ask('input', 'x'.repeat(16_385))).toMatchObject({ code: 'input_too_large' });
    expect(await client.ask('input', { no: 'text' })).toMatchObject({ code: 'invalid_parameters' });
    expect(await client.ask('resize', { cols: 1001, rows: 1 })).toMatchObject({ code: 'invalid_parameters' });
    await Promise.all(Array.from({ length: 7 }, () => connect().opened()));
    const ninth = connect();
    await eventually(() => expect(ninth.refusal?.data).toMatchObject({ code: 'too_many_terminals', limit: 8 }));
    expect((await user.api.call('DELETE', `/api/containers/${container.id}/terminals/${client.session}`)).status).toBe(
      200,
    );
    await eventually(() => expect(client.exit).toEqual({ code: null, reason: 'ended' }));
    await connect().opened();
  });

  it('must detach a client whose token is revoked, and go on for the next', async () => {
    const tokens = server.app.get(TokenService);
    const { text, token } = await tokens.issue({ userId: user.id, name: 'brief', scopes: ['exec'], expiresAt: null });
    const client = await connect({ token: text }).opened();
    await tokens.revoke({ userId: user.id, tokenId: token.id });
    await eventually(() => expect(client.disconnects).toEqual(['io server disconnect']));
    expect(client.exit).toBeNull();
    await connect({ session: client.session }).opened();
  });
});

describe('a terminal over a plain WebSocket', () => {
  it('must speak as Rexec does: messages in JSON, anything else typed', async () => {
    const client = await plain('?cols=90&rows=20').opened();
    expect(client.frames[0]).toMatchObject({ type: 'connected', role: 'writer', offset: 0, gap: false });
    client.send({ type: 'input', data: 'stty size\n' });
    await client.says(shown('20 90'));
    client.send({ type: 'resize', cols: 100, rows: 30 });
    client.send('stty size\n');
    await client.says(shown('30 100'));
    client.send(Buffer.from('echo "binary-$((1+1))"\n'));
    await client.says(shown('binary-2'));
    client.send(Buffer.from('{"type":"resize","cols":1,"rows":1}\n'));
    await client.says('{"type":"resize"');
    client.send({ type: 'ping' });
    await eventually(() => expect(client.of('pong')).toHaveLength(1));
    client.send('{"type":"other"}\n');
    await client.says('{"type":"other"}');
    client.send({ type: 'resize', cols: 0, rows: 30 });
    client.send({ type: 'input', data: 'x'.repeat(16_385) });
    await eventually(() => expect(client.of('error')).toHaveLength(2));
    // Whole characters, however the bytes come.
    client.send(
      'for b in 237 237; do printf "\\360\\237\\232"; sleep 0.2; printf "\\242"; done; echo " done-$((1+1))"\n',
    );
    await client.says('🚢🚢 done-2');
    client.send('exit 3\n');
    await eventually(() => expect(client.closed).toEqual({ code: 1000, reason: 'exited 3' }));
  });

  it('must say why it closes, and take a client back from where it was', async () => {
    const tokens = server.app.get(TokenService);
    const { text, token } = await tokens.issue({ userId: user.id, name: 'brief', scopes: ['exec'], expiresAt: null });
    const first = await plain('', { headers: { authorization: `Bearer ${text}` } }).opened();
    first.send('echo "first-$((1+1))"\n');
    await first.says(shown('first-2'));
    await tokens.revoke({ userId: user.id, tokenId: token.id });
    await eventually(() => expect(first.closed).toEqual({ code: 4001, reason: 'the token has ended' }));
    const session = String(first.frames[0]?.['session']);
    const after = Buffer.byteLength(first.text);
    const second = await plain(`?session=${session}&after=${String(after)}`).opened();
    expect(second.frames[0]).toMatchObject({ session, offset: after, gap: false, role: 'writer' });
    second.send('echo "second-$((1+1))"\n');
    await second.says(shown('second-2'));
    expect(second.text).not.toContain('first-2');
    expect((await user.api.call('DELETE', `/api/containers/${container.id}/terminals/${session}`)).status).toBe(200);
    await eventually(() => expect(second.closed).toEqual({ code: 1000, reason: 'ended' }));
  });

  it('must be the same terminal as over Socket.IO, and hold a flood back too', async () => {
    const first = await connect().opened();
    first.type('echo "same-$((1+1))"\n');
    await first.says(shown('same-2'));
    const offered = ['berth.v1', `bearer.${user.token}`];
    const second = await plain(`?session=${first.session}&takeover=true`, {}, offered).opened();
    expect(second.socket.protocol).toBe('berth.v1');
    await second.says(shown('same-2'));
    second.socket.pause();
    second.send('yes 7902\n');
    const written = async () => (await processes()).includes('yes 7902');
    await eventually(async () => expect(await written()).toBe(true));
    const before = process.memoryUsage().rss;
    await server.docker.exec(container.id, ['sleep', '2']);
    expect(process.memoryUsage().rss - before).toBeLessThan(48 * 2 ** 20);
    second.socket.resume();
    second.send('\u0003');
    await eventually(async () => expect(await written()).toBe(false));
  });

  it.each<[string, string, object, string[], number, string]>([
    ['no token', '', {}, [], 401, 'unauthorized'],
    ['a token in the address', '?token=TOKEN&access_token=TOKEN', {}, [], 401, 'unauthorized'],
    ['a token and no berth.v1', '', {}, ['bearer.x'], 400, 'invalid_parameters'],
    ['a session that is none', '?session=x', { authorization: 'TOKEN' }, [], 400, 'invalid_parameters'],
    ['rows that are none', '?rows=many', { authorization: 'TOKEN' }, [], 400, 'invalid_parameters'],
  ])('must be refused in HTTP with %s', async (_what, query, headers, protocols, status, code) => {
    const withToken = JSON.parse(JSON.stringify(headers).replace('TOKEN', `Bearer ${user.token}`)) as object;
    const client = plain(query.replaceAll('TOKEN', user.token), { headers: { ...withToken } }, protocols);
    await eventually(() => expect(client.answer).toMatchObject({ status, body: { code } }));
    expect(sessionsNow()).toEqual([]);
  });
});

describe('the end of the container', () => {
  it('must end its terminals at once and with the reason: a resize, a stop, a deletion', async () => {
    const over = await connect().opened();
    const plainOne = await plain(`?session=${over.session}`).opened();
    over.type('sleep 7803\n');
    await eventually(async () => expect(await processes()).toContain('sleep 7803'));
    expect((await user.api.update(container.id, { name: container.name, ...LARGER })).status).toBe(200);
    await eventually(() => expect(over.exit).toEqual({ code: null, reason: 'container_recreated' }));
    await eventually(() => expect(plainOne.closed).toEqual({ code: 4003, reason: 'container_recreated' }));
    container = { ...container, id: String((await user.api.get(container.db_id)).body['id']) };
    const stopped = await connect().opened();
    const before = performance.now();
    expect((await user.api.stop(container.id)).status).toBe(200);
    expect(performance.now() - before).toBeLessThan(6_000);
    await eventually(() => expect(stopped.exit).toEqual({ code: null, reason: 'container_stopped' }));
    const refused = connect();
    await eventually(() => expect(refused.refusal?.data).toMatchObject({ code: 'container_not_running' }));
    expect((await user.api.start(container.id)).status).toBe(200);
    const deleted = await connect().opened();
    expect((await user.api.delete(container.id)).status).toBe(200);
    await eventually(() => expect(deleted.exit).toEqual({ code: null, reason: 'container_deleted' }));
    expect(sessionsNow()).toEqual([]);
  });

  it('must be told of one that stopped by itself; its shell is sh where there is no bash', async () => {
    container = await user.api.running();
    const client = await connect().opened();
    client.type('pwd; echo "sh-$((1+1))"\n');
    await client.says(shown('/home/user'));
    await client.says(shown('sh-2'));
    await server.docker.docker.getContainer(container.id).kill();
    await eventually(() => expect(client.exit).toMatchObject({ code: null, reason: 'container_stopped' }));
  });
});

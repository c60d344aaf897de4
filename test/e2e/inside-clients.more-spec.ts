import type { Socket as TcpSocket } from 'node:net';
import { WebSocket } from 'ws';
import { Terminals } from '../../src/sandbox/terminals/terminals';
import type * as sessions from '../../src/sandbox/terminals/terminal-session';
import { Berth, type TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { FloodingShell } from '../support/fakes/flooding-shell';
import { PlainTerminal, TerminalClient } from '../support/clients/terminal-client';

jest.setTimeout(120_000);

// Long before a ping that is not answered ends a connection.
const mockStallMs = 3_000;
jest.mock('../../src/sandbox/terminals/terminal-session', () => {
  const actual = jest.requireActual<typeof sessions>('../../src/sandbox/terminals/terminal-session');
  class Impatient extends actual.TerminalSession {
    constructor(...[facts, shell, doing]: ConstructorParameters<typeof actual.TerminalSession>) {
      super(facts, shell, doing, { stallMs: mockStallMs });
    }
  }
  return { ...actual, TerminalSession: Impatient };
});

/** Both pings and the time for an answer are the server's own: 25 seconds, and as long again. */
const PINGED_OUT_MS = 70_000;

describe('a client of a terminal that does not play its part', () => {
  let berth: Berth;
  let user: TestUser;
  let container: string;
  const clients: { leave(): void }[] = [];
  /** The server's ends of all connections. */
  const connections: TcpSocket[] = [];

  beforeAll(async () => {
    const engine = new FakeEngine(new FakeDaemon());
    jest.spyOn(engine.programs, 'start').mockImplementation(() => Promise.resolve(new FloodingShell()));
    berth = await Berth.start({ engine });
    berth.app.getHttpServer().on('connection', (socket: TcpSocket) => connections.push(socket));
    user = await berth.user('enterprise');
    container = (await user.api.running()).db_id;
  });

  afterEach(() => {
    for (const client of clients.splice(0)) client.leave();
  });

  afterAll(() => berth.stop());

  function overSocketIo(): TerminalClient {
    const client = new TerminalClient(berth.url, { token: user.token, container });
    clients.push(client);
    return client;
  }

  function plain(options: { autoPong?: boolean } = {}): PlainTerminal {
    const headers = { authorization: `Bearer ${user.token}` };
    const client = new PlainTerminal(`${berth.url}/ws/terminal/${container}`, { headers, ...options });
    clients.push(client);
    return client;
  }

  /** How many clients all terminals have. */
  function attached(): number {
    const { sessions } = berth.app.get<{ sessions: Map<string, sessions.TerminalSession> }>(Terminals);
    return [...sessions.values()].reduce((sum, session) => sum + session.clients, 0);
  }

  it('must be dropped where it reads nothing, over Socket.IO and over a plain WebSocket, connection and all', async () => {
    const [one, other] = await Promise.all([overSocketIo().opened(), plain().opened()]);
    const sockets = [beneath(one), (other.socket as unknown as { _socket: TcpSocket })._socket];
    const ends = sockets.map(({ localPort }) => connections.find(({ remotePort }) => remotePort === localPort));
    expect(attached()).toBe(2);
    one.type('flood\n');
    other.send('flood\n');
    for (const socket of sockets) socket.pause();
    await eventually(() => expect(attached()).toBe(0), { timeoutMs: 20_000 });
    await eventually(() => expect(ends.map((end) => end?.destroyed)).toEqual([true, true]), { timeoutMs: 20_000 });
  });

  it('must be dropped where it sends a hundred megabytes at once, by either door, and its terminal goes on', async () => {
    const [one, other] = [await overSocketIo().opened(), await plain().opened()];
    const { session } = one;
    const witness = new TerminalClient(berth.url, { token: user.token, container, session });
    clients.push(witness);
    await witness.opened();
    const much = Buffer.alloc(100 * 2 ** 20, 'x');
    one.socket.emit('input', much);
    other.send(much);
    await eventually(() => expect(attached()).toBe(1), { timeoutMs: 20_000 });
    await eventually(() => expect([one.disconnects.length, other.closed !== null]).toEqual([1, true]));
    expect([witness.disconnects, witness.exit]).toEqual([[], null]);
    const back = new TerminalClient(berth.url, { token: user.token, container, session });
    clients.push(back);
    expect((await back.opened()).attached).toMatchObject({ session, role: 'writer' });
  });

  it('must be dropped where it answers no ping, by either door', async () => {
    const silent = await plain({ autoPong: false }).opened();
    const raw = new WebSocket(`${berth.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`);
    clients.push({ leave: () => raw.terminate() });
    const auth = JSON.stringify({ token: user.token, container });
    let closed = false;
    raw.once('close', () => (closed = true));
    raw.once('open', () => raw.send(`40/terminal,${auth}`));
    await eventually(() => expect(attached()).toBe(2));
    await eventually(() => expect(attached()).toBe(0), { timeoutMs: PINGED_OUT_MS });
    await eventually(() => expect([closed, silent.closed !== null]).toEqual([true, true]));
  });
});

/** The TCP socket of a Socket.IO client. */
function beneath({ socket }: TerminalClient): TcpSocket {
  const { transport } = socket.io.engine as unknown as { transport: { ws: { _socket: TcpSocket } } };
  return transport.ws._socket;
}

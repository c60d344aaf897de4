import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import { type ClientChannel, type Connection, Server, type ServerChannel } from 'ssh2';
import { eventually } from '../../test/support/eventually';
import { SshVisitor } from '../../test/support/clients/ssh-visitor';
import { newKeyPair } from './public-key';
import { BOUNDS, SshBounds, WaitingInputs } from './ssh-bounds';
import { ChannelOutput } from './ssh-work';
import { exchangesKeys, forgetStalled, guardConnectionMessages, socketOf } from './ssh2-internals';

/** With ssh2 itself on both sides: these tests fail where a new version of it keeps other things, or elsewhere. */
describe('a connection of ssh2', () => {
  let server: Server;
  let visitor: SshVisitor | undefined;
  let connection: Connection;
  let channel: ServerChannel;

  afterEach(async () => {
    visitor?.client.destroy();
    server.close();
    await once(server, 'close');
  });

  /** Logs a client in, and runs a command. @param begin is given the connection before its first key exchange */
  async function run(begin: (connection: Connection) => void): Promise<ClientChannel> {
    const opened = new Promise<void>((resolve) => {
      server = new Server({ hostKeys: [newKeyPair().private], ident: 'x' }, (accepted) => {
        connection = accepted;
        accepted.on('error', () => undefined).on('authentication', (context) => context.accept());
        accepted.on('session', (accept) =>
          accept().on('exec', (acceptCommand) => {
            channel = acceptCommand();
            resolve();
          }),
        );
        begin(accepted);
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    visitor = await SshVisitor.open((server.address() as AddressInfo).port, { username: 'dev', password: 'x' });
    const asked = await visitor.start('command');
    await opened;
    return asked;
  }

  async function runBounded(
    limits: ConstructorParameters<typeof SshBounds>[1],
  ): Promise<{ asked: ClientChannel; bounds: SshBounds }> {
    let bounds: SshBounds | undefined;
    const asked = await run((accepted) => {
      const bounded = new SshBounds(accepted, limits);
      accepted.on('ready', () => bounded.admit('user', new WaitingInputs()));
      bounds = bounded;
    });
    if (!bounds) throw new Error('the connection was not announced');
    return { asked, bounds };
  }

  it('has a socket, a mark of a key exchange, and handlers of messages, by which it is bounded', async () => {
    let passes = true;
    let seen = 0;
    const marks: boolean[] = [];
    const asked = await run((accepted) => {
      marks.push(exchangesKeys(accepted));
      accepted.on('handshake', () => marks.push(exchangesKeys(accepted)));
      setImmediate(() => marks.push(exchangesKeys(accepted)));
      guardConnectionMessages(accepted, () => {
        seen += 1;
        return passes;
      });
    });
    expect(socketOf(connection).remotePort).toBe(visitor?.socket.localPort);
    expect(marks).toEqual([false, true, false]);
    // The channel, and the command in it.
    expect(seen).toBe(2);
    passes = false;
    asked.write('dropped');
    await eventually(() => expect(seen).toBe(3));
    expect(channel.readableLength).toBe(0);
  });

  it('keeps what has waited for the window, until it is forgotten', async () => {
    const asked = await run(() => undefined);
    asked.pause();
    await new Promise((resolve) => {
      channel.write(Buffer.alloc(3 * 1024 * 1024), resolve);
      asked.resume();
    });
    expect(channel).toHaveProperty('_chunkcb', expect.any(Function));
    forgetStalled(channel);
    expect(channel).toMatchObject({ _chunk: undefined, _chunkcb: undefined, _chunkErr: undefined });
  });

  it('is given no output during a key exchange, and is closed if the exchange does not end in time', async () => {
    const { asked, bounds } = await runBounded({ ...BOUNDS, exchangeMs: 500 });
    const { socket } = bounds;
    visitor?.openWindow(asked);
    asked.resume();
    const over = new AbortController();
    socket.once('close', () => over.abort());
    const output = new ChannelOutput(channel, bounds, over.signal);
    let written = 0;
    const flooding = (async () => {
      for (; !over.signal.aborted; written += 1) await output.write('stdout', Buffer.alloc(64 * 1024));
    })();
    await eventually(() => expect(written).toBeGreaterThan(20));
    visitor?.beginEndlessExchange();
    await eventually(() => expect(exchangesKeys(connection)).toBe(true));
    const before = written;
    await once(socket, 'close');
    await flooding;
    // The write that was under way, and the one that the end has dropped.
    expect(written - before).toBeLessThanOrEqual(2);
  });

  it('passes output on after a key exchange that ends', async () => {
    const { asked, bounds } = await runBounded(BOUNDS);
    const output = new ChannelOutput(channel, bounds, new AbortController().signal);
    let read = 0;
    asked.on('data', (data: Buffer) => (read += data.length));
    for (let round = 0; round < 5; round += 1) {
      visitor?.exchangeKeys();
      await output.write('stdout', Buffer.alloc(1_000_000));
    }
    await eventually(() => expect(read).toBe(5_000_000));
  });
});

describe('input that programs do not read', () => {
  const connectionOf = (userId: string) => {
    const connection: object = { userId, waitingInput: 0, socket: new PassThrough() };
    return connection as SshBounds;
  };

  it('disconnects the connection that exceeds its user’s bound, counted over all connections', () => {
    const inputs = new WaitingInputs({ ofUser: 100, together: 1_000 });
    const [one, two, other] = [connectionOf('ada'), connectionOf('ada'), connectionOf('bob')];
    for (const [connection, bytes] of [
      [one, 60],
      [other, 90],
      [two, 40],
    ] as const) {
      Object.assign(connection, { waitingInput: bytes });
      inputs.note(connection);
    }
    expect([one, two, other].map(({ socket }) => socket.destroyed)).toEqual([false, false, false]);
    // Programs have read since: only what waits now counts.
    Object.assign(one, { waitingInput: 10 });
    Object.assign(two, { waitingInput: 80 });
    inputs.note(two);
    expect(two.socket.destroyed).toBe(false);
    Object.assign(two, { waitingInput: 95 });
    inputs.note(two);
    expect([one, two, other].map(({ socket }) => socket.destroyed)).toEqual([false, true, false]);
    // A connection that is closed counts no more.
    inputs.forget(two);
    Object.assign(one, { waitingInput: 100 });
    inputs.note(one);
    expect(one.socket.destroyed).toBe(false);
  });

  it('disconnects the heaviest user’s heaviest connection where all together exceed the process’s bound', () => {
    const inputs = new WaitingInputs({ ofUser: 100, together: 200 });
    const light = Array.from({ length: 5 }, (_each, at) => connectionOf(`user-${String(at)}`));
    const heavy = [connectionOf('eve'), connectionOf('eve')];
    for (const connection of [...heavy, ...light]) {
      Object.assign(connection, { waitingInput: connection === heavy[0] ? 50 : 30 });
      inputs.note(connection);
    }
    expect(light.map(({ socket }) => socket.destroyed)).toEqual(light.map(() => false));
    expect(heavy.map(({ socket }) => socket.destroyed)).toEqual([true, false]);
  });
});

import { MAX_WAITING } from '../../src/events/events.gateway';
import { range } from '../support/servers/events-process';
import { eventually } from '../support/eventually';
import { SocketClient } from '../support/clients/socket-client';
import { SocketServer } from '../support/servers/socket-server';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

/** The client's own WebSocket, which can stop reading. */
interface Reading {
  pause(): void;
  resume(): void;
}

const webSocketOf = ({ socket }: SocketClient) => (socket.io.engine.transport as unknown as { ws: Reading }).ws;

describe('a client that does not read', () => {
  let testDatabase: TestDatabase;
  let server: SocketServer;
  const clients: SocketClient[] = [];

  beforeAll(async () => {
    testDatabase = await openTestDatabase();
    server = await SocketServer.start({ url: testDatabase.url });
  });

  afterAll(async () => {
    for (const { socket } of clients) socket.close();
    await server.stop();
    await testDatabase.drop();
  });

  /** A client that comes back with what it has seen last. */
  const open = (token: string, after?: number) => {
    const client: SocketClient = new SocketClient(server.url, () => {
      const seen = client.seqs.at(-1) ?? after;
      return { token, ...(seen !== undefined && { after: seen }) };
    });
    clients.push(client);
    return client.connected();
  };

  const large = 'x'.repeat(20_000);

  it('must be cut off past a bound, harm nobody else, and miss nothing when it reads again', async () => {
    const user = await server.user();
    const [stuck, reads] = [await open(user.token), await open(user.token)];
    const { engine } = server.io;
    expect(engine.clientsCount).toBe(2);
    webSocketOf(stuck).pause();
    let committed = 0;
    while (engine.clientsCount > 1) {
      // Some MiB lie in the kernel's buffers before any packet has to wait here.
      expect(committed).toBeLessThan(4 * MAX_WAITING);
      await server.commit(user.id, ...range(1, 50).map(() => large));
      committed += 50;
    }
    await eventually(() => expect(reads.seqs).toEqual(range(1, committed)));
    webSocketOf(stuck).resume();
    await eventually(() => expect(stuck.disconnects).toEqual(['transport close']));
    await eventually(() => expect(stuck.seqs).toEqual(range(1, committed)));
  });

  it('must not be sent a long replay all at once', async () => {
    const user = await server.user();
    for (let batch = 0; batch < 30; batch += 1) await server.commit(user.id, ...range(1, 50).map(() => large));
    const slow = await open(user.token, 0);
    webSocketOf(slow).pause();
    const waiting = () => {
      const [socket] = server.io.sockets.sockets.values();
      if (!socket) throw new Error('no socket is connected');
      return (socket.conn as unknown as { writeBuffer: unknown[] }).writeBuffer.length;
    };
    for (const client of clients.slice(0, -1)) client.socket.close();
    await eventually(() => expect(server.io.sockets.sockets.size).toBe(1));
    await server.commit(user.id, 'now');
    expect(waiting()).toBeLessThan(MAX_WAITING);
    webSocketOf(slow).resume();
    await eventually(() => expect(slow.seqs).toEqual(range(1, 1_501)));
    expect(slow.disconnects).toEqual([]);
  });
});

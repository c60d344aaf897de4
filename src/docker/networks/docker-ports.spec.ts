import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { EngineError } from '../../engine';
import type { ContainerRun } from '../model/inspect';
import { DockerPorts } from './docker-ports';

/** An address of this machine that none of its interfaces has, beside one that is the gateway. */
const ADDRESS = '127.0.0.2';
const RUN: ContainerRun = { state: 'running', startedAt: 'first', ipAddress: ADDRESS, gateway: '127.0.0.1' };

const bySupervisor = new Error('by the supervisor');

describe('connections to the address of a container', () => {
  let server: Server;
  let port: number;
  /** What the server got. */
  let got: string;
  /** Docker's answers, in turns; the last one stays. */
  let answers: (ContainerRun | null)[];
  let looks: number;

  beforeEach(async () => {
    [got, answers, looks] = ['', [RUN], 0];
    server = createServer((socket) => {
      socket.on('data', (data) => (got += data.toString()));
      socket.on('error', () => undefined);
    });
    server.listen(0, ADDRESS);
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  });
  afterEach(() => server.close());

  function ports({ isLocal = true } = {}): DockerPorts {
    const refuse = (): Promise<never> => Promise.reject(bySupervisor);
    return new DockerPorts({
      channels: { of: refuse, open: refuse },
      inspect: async () => {
        looks += 1;
        const answer = (answers.length > 1 ? answers.shift() : answers[0]) ?? null;
        await delay(20);
        return answer;
      },
      isLocal,
    });
  }

  it('must be made directly, and looked at again before a byte is sent; later ones look once', async () => {
    const connector = ports();
    for (const expected of [2, 3]) {
      const connection = await connector.connect('id', port);
      expect(connection).toBeInstanceOf(Socket);
      expect(looks).toBe(expected);
      connection.destroy();
    }
  });

  it('must share a look that begins after each of them', async () => {
    const connector = ports();
    (await connector.connect('id', port)).destroy();
    looks = 0;
    const all = await Promise.all(Array.from({ length: 50 }, () => connector.connect('id', port)));
    for (const connection of all) connection.destroy();
    expect(looks).toBeLessThan(10);
  });

  it.each<[string, ContainerRun]>([
    ['stopped', { ...RUN, state: 'exited', ipAddress: null, gateway: null }],
    ['been started again, elsewhere', { ...RUN, startedAt: 'second', ipAddress: '127.0.0.3' }],
    ['been paused', { ...RUN, state: 'paused' }],
  ])('must send nothing to an address whose container has %s', async (_what, after) => {
    answers = [RUN, after];
    const outcome = await ports()
      .connect('id', port)
      .catch((error: unknown) => error);
    expect(outcome instanceof EngineError || outcome === bySupervisor).toBe(true);
    expect(got).toBe('');
  });

  it('must be made at the new address of a container that was started again', async () => {
    answers = [{ ...RUN, startedAt: 'earlier', ipAddress: '127.0.0.9' }, RUN];
    const other = createServer().listen(port, '127.0.0.9');
    await once(other, 'listening');
    const connection = await ports().connect('id', port);
    expect((connection as Socket).remoteAddress).toBe(ADDRESS);
    connection.destroy();
    other.close();
  });

  it('must be refused where there is no such container', async () => {
    answers = [null];
    await expect(ports().connect('id', port)).rejects.toMatchObject({ code: 'container_not_found' });
  });

  it.each<[string, ContainerRun]>([
    ['the gateway is not of this machine', { ...RUN, gateway: '192.0.2.1' }],
    ['the address is one of this machine', { ...RUN, ipAddress: '127.0.0.1' }],
    ['there is no network', { ...RUN, ipAddress: null, gateway: null }],
  ])('must be made by the supervisor where %s', async (_what, run) => {
    answers = [run];
    await expect(ports().connect('id', port)).rejects.toBe(bySupervisor);
  });

  it('must be made by the supervisor where nothing listens, and where Docker is on another machine', async () => {
    await expect(ports().connect('id', 1)).rejects.toBe(bySupervisor);
    looks = 0;
    await expect(ports({ isLocal: false }).connect('id', port)).rejects.toBe(bySupervisor);
    expect(looks).toBe(0);
  });
});

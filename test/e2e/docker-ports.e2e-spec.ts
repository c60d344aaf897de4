import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { DockerEngine } from '../../src/docker/docker-engine';
import { DockerPorts } from '../../src/docker/networks/docker-ports';
import { connectInside } from '../../src/engine';
import { EngineSandbox } from '../support/docker/engine-sandbox';
import { eventually } from '../support/eventually';

jest.setTimeout(180_000);

/** An HTTP server of the test image that answers with its port. */
const server = (address: string, port: number): string[] => {
  const folder = `/tmp/${String(port)}`;
  const script = 'mkdir -p "$1"; echo "$2" >"$1/index.html"; exec httpd -f -p "$3:$2" -h "$1"';
  return ['sh', '-c', script, 'sh', folder, String(port), address];
};

/** A server of an image with Perl, which echoes whatever it gets. */
const echo = (address: string, port: number): string[] => [
  'perl',
  '-MIO::Socket::IP',
  '-e',
  `$SIG{CHLD} = "IGNORE";
  # Its flags by default leave ::1 out where no other interface has an IPv6 address.
  my $server = IO::Socket::IP->new(
    LocalHost => "${address}", LocalPort => ${String(port)}, Listen => 50, ReuseAddr => 1, GetAddrInfoFlags => 0);
  while (my $client = $server->accept) {
    next if fork;
    while (sysread($client, my $data, 65536)) { syswrite($client, $data) }
    exit;
  }`,
];

describe('connections to the ports of a gVisor container', () => {
  const sandbox = new EngineSandbox();
  let engine: DockerEngine;
  let engineId: string;
  let other: string;

  beforeAll(async () => {
    engine = sandbox.dockerEngine();
    await engine.host.prepare(sandbox.instance);
    engineId = await sandbox.running(engine);
    other = await sandbox.running(engine);
    await engine.programs.start(engineId, { command: server('0.0.0.0', 3000) });
    await engine.programs.start(engineId, { command: server('127.0.0.1', 3001) });
  });
  afterAll(() => sandbox.cleanUp());

  /** Requests the page, and returns its text. */
  const said = async (connection: Duplex): Promise<string> => {
    connection.write('GET / HTTP/1.0\r\n\r\n');
    const answer = await text(connection);
    connection.destroy();
    return answer.split('\r\n\r\n')[1] ?? '';
  };

  it('must reach what listens on all addresses, and what listens on loopback alone', async () => {
    const ask = async (port: number): Promise<string> => said(await engine.ports.connect(engineId, port));
    expect(await eventually(() => ask(3000))).toBe('3000\n');
    expect(await eventually(() => ask(3001))).toBe('3001\n');
  });

  it('must list what listens', async () => {
    await eventually(async () =>
      expect(await engine.ports.listening(engineId)).toEqual([
        { port: 3000, addresses: ['0.0.0.0'] },
        { port: 3001, addresses: ['127.0.0.1'] },
      ]),
    );
    expect(await engine.ports.listening(other)).toEqual([]);
  });

  it('must be refused where nothing listens, by its own address and by the supervisor', async () => {
    await expect(engine.ports.connect(engineId, 3999)).rejects.toMatchObject({ code: 'port_closed' });
    await expect(connectInside(engine.channels, engineId, 3999)).rejects.toMatchObject({ code: 'port_closed' });
    await expect(engine.ports.connect(other, 3000)).rejects.toMatchObject({ code: 'port_closed' });
  });

  it('must be by the supervisor alone where Docker is on another machine, or the container has no network', async () => {
    const spec = sandbox.spec({ network: 'none' });
    const alone = await sandbox.running(engine, spec);
    await engine.programs.start(alone, { command: server('0.0.0.0', 3000) });
    expect(await eventually(async () => said(await engine.ports.connect(alone, 3000)))).toBe('3000\n');
    const remote = new DockerPorts({
      channels: engine.channels,
      inspect: () => Promise.reject(new Error('must not be asked')),
      isLocal: false,
    });
    expect(await eventually(async () => said(await remote.connect(engineId, 3000)))).toBe('3000\n');
  });

  it("must never be to a container that has got another one's address", async () => {
    const [first, second] = [await sandbox.running(engine), await sandbox.running(engine)];
    await engine.programs.start(first, { command: server('0.0.0.0', 3000) });
    await engine.programs.start(second, { command: server('0.0.0.0', 3000) });
    const address = async (id: string): Promise<string | null> =>
      (await engine.containers.inspect(id))?.ipAddress ?? null;
    expect(await eventually(async () => said(await engine.ports.connect(first, 3000)))).toBe('3000\n');
    const addresses = [await address(first), await address(second)];
    await Promise.all([engine.containers.stop(first, 1), engine.containers.stop(second, 1)]);
    await expect(engine.ports.connect(first, 3000)).rejects.toMatchObject({ code: 'container_not_running' });
    // Started the other way round, they get each other's addresses.
    await engine.containers.start(second);
    await engine.containers.start(first);
    expect([await address(second), await address(first)]).toEqual(addresses);
    await engine.programs.start(second, { command: server('0.0.0.0', 3000) });
    await eventually(async () => expect(await engine.ports.listening(second)).toHaveLength(1));
    await expect(engine.ports.connect(first, 3000)).rejects.toMatchObject({ code: 'port_closed' });
  });

  it('must be refused to a paused container', async () => {
    const paused = await sandbox.running(engine);
    await sandbox.pause(paused);
    await expect(engine.ports.connect(paused, 3000)).rejects.toMatchObject({ code: 'container_paused' });
  });

  describe('in an image with bash', () => {
    let full: string;

    beforeAll(async () => {
      full = await sandbox.running(engine, sandbox.spec({ image: 'berth/sandbox:latest', memoryMb: 512 }));
      await engine.programs.start(full, { command: echo('127.0.0.1', 4000) });
      await engine.programs.start(full, { command: echo('::1', 4001) });
    });

    it('must carry bytes both ways unchanged, to either loopback address, and end with the server', async () => {
      const bytes = Buffer.alloc(3_000_000, 'a line of text\n');
      for (const port of [4000, 4001]) {
        const connection = await eventually(() => engine.ports.connect(full, port));
        const got: Buffer[] = [];
        connection.on('data', (data: Buffer) => got.push(data));
        connection.write(bytes);
        await eventually(() => expect(Buffer.concat(got).length).toBe(bytes.length));
        expect(Buffer.concat(got).equals(bytes)).toBe(true);
        connection.destroy();
        await once(connection, 'close');
      }
    });
  });
});

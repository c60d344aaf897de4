import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { newKeyPair } from '../../src/ssh/public-key';
import type { ApiClient, NewContainer } from '../support/clients/api-client';
import { BerthProcess, type Vitals } from '../support/servers/berth-process';
import { eventually } from '../support/eventually';
import { freePort } from '../support/free-port';
import { RawConnection, requestText } from '../support/clients/raw-connection';
import { EngineSandbox } from '../support/docker/engine-sandbox';
import { joinNetworks } from '../support/docker/firewall';
import { OutsideWorld } from '../support/clients/outside-world';
import { RealDocker } from '../support/docker/real-docker';
import { SANDBOX_IMAGE } from '../support/docker/volume-workbench';
import { SshVisitor } from '../support/clients/ssh-visitor';
import { TerminalClient } from '../support/clients/terminal-client';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';

jest.setTimeout(600_000);

/** How much more memory the server may have after an attack than before them all, in MiB: its heap grows and stays. */
const MORE_MEMORY_MB = 160;
/** How much it may have while it is attacked. */
const PEAK_MEMORY_MB = 700;
/** How long `/health/live` may take while the server is attacked. */
const ALIVE_MS = 10_000;
/** Processor time that an idle server may use in a second. */
const IDLE_CPU_MS = 250;

/**
 * What a hostile client or container can do, against one server with Docker and gVisor: each attack is made, the server
 * answers meanwhile, and has afterwards what it had before.
 */
describe('a server that was attacked', () => {
  const real = new RealDocker();
  const instance = `test-attacks-${String(process.pid)}`;
  let database: TestDatabase;
  let berth: BerthProcess;
  let api: ApiClient;
  let container: NewContainer;
  /** Where each listener is reached. */
  let urls: Record<'api' | 'previews' | 'ssh', string>;
  let before: Vitals;
  let probing: NodeJS.Timeout;
  let slowestMs = 0;

  beforeAll(async () => {
    database = await openTestDatabase();
    const [previewPort, sshPort] = [await freePort(), await freePort()];
    berth = new BerthProcess({
      DATABASE_URL: database.url,
      INSTANCE_ID: instance,
      CONNECTION_LIMIT: '500',
      PREVIEW_PORT: String(previewPort),
      SSH_PORT: String(sshPort),
      NODE_OPTIONS: `--max-old-space-size=1024 --require=${join(process.cwd(), 'test/support/servers/quick-cuts.js')}`,
    });
    await berth.start();
    urls = {
      api: berth.url,
      previews: `http://127.0.0.1:${String(previewPort)}`,
      ssh: `http://127.0.0.1:${String(sshPort)}`,
    };
    api = await berth.user();
    container = await api.running({ memory_mb: 512, disk_mb: 2048 });
    // Made once, and kept.
    for (const path of ['/api/openapi.json', '/api/docs/swagger-ui-bundle.js', '/metrics']) {
      await (await fetch(`${berth.url}${path}`)).arrayBuffer();
    }
    before = await berth.vitals();
    probing = setInterval(() => void probe(), 250);
  });

  afterAll(async () => {
    clearInterval(probing);
    await berth.stop();
    await real.removeInstance(instance);
    await database.drop();
  });

  beforeEach(() => {
    slowestMs = 0;
  });

  afterEach(async () => {
    RawConnection.closeAll();
    expect((await api.call('GET', '/api/me')).status).toBe(200);
    const slowest = slowestMs;
    slowestMs = 0;
    expect(slowest).toBeLessThan(ALIVE_MS);
    expect(await berth.peakMemoryMb()).toBeLessThan(before.memoryMb + PEAK_MEMORY_MB);
    await eventually(
      async () => {
        const first = await berth.vitals();
        await delay(1_000);
        const last = await berth.vitals();
        expect(last.cpuMs - first.cpuMs).toBeLessThan(IDLE_CPU_MS);
        expect(last.descriptors).toBeLessThanOrEqual(before.descriptors + 20);
        expect(last.memoryMb).toBeLessThan(before.memoryMb + MORE_MEMORY_MB);
      },
      { timeoutMs: 120_000 },
    );
  });

  async function probe(): Promise<void> {
    const began = performance.now();
    await fetch(`${berth.url}/health/live`, { signal: AbortSignal.timeout(30_000) }).catch(() => undefined);
    slowestMs = Math.max(slowestMs, performance.now() - began);
  }

  const authorized = (): string => `Authorization: Bearer ${api.token}\r\n`;
  const path = (rest: string): string => `/api/containers/${container.db_id}/${rest}`;
  const sh = (script: string): Promise<string> => real.exec(container.id, ['sh', '-c', script], { user: '0' });

  /** Connections that send so much, and read nothing. */
  function unread(count: number, text: string): RawConnection[] {
    return Array.from({ length: count }, () => new RawConnection(berth.url).stopReading().write(text));
  }

  /** Those that the server has open, as the kernel says: a client that does not read is told nothing. @returns ports */
  function openAtServer(connections: readonly RawConnection[]): number[] {
    const [server, clients] = [Number(new URL(berth.url).port), new Set(connections.map(({ port }) => port))];
    const rows = readFileSync('/proc/net/tcp', 'utf8').trim().split('\n').slice(1);
    return rows.flatMap((row) => {
      const [, local = '', remote = '', , , , , , , inode] = row.trim().split(/\s+/);
      const portOf = (address: string): number => Number.parseInt(address.split(':')[1] ?? '', 16);
      // Without an inode, the process has closed it.
      const isOpen = portOf(local) === server && clients.has(portOf(remote)) && inode !== '0';
      return isOpen ? [portOf(remote)] : [];
    });
  }

  /** The server accepts these connections, and disconnects them by itself. */
  async function allCut(connections: readonly RawConnection[]): Promise<void> {
    const accepted = new Set<number>();
    await eventually(() => {
      for (const port of openAtServer(connections)) accepted.add(port);
      expect(accepted.size).toBe(connections.length);
    });
    // None is read: a client that reads again is served again.
    await eventually(() => expect(openAtServer(connections)).toEqual([]), { timeoutMs: 150_000 });
    for (const { socket } of connections) socket.destroy();
  }

  describe('by anyone', () => {
    it.each(['api', 'previews', 'ssh'] as const)(
      'must have closed connections with requests without end: %s',
      async (listener) => {
        // As many bytes as one read brings.
        const text = 'GET /api/me HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(1_700);
        for (let round = 0; round < 3; round += 1) {
          const connections = Array.from({ length: 20 }, () => new RawConnection(urls[listener]).write(text));
          await eventually(() => expect(connections.filter(({ closed }) => !closed)).toHaveLength(0));
        }
      },
    );

    it('must have answered a few of thousands of CONNECT packets', async () => {
      const polling = `${berth.url}/socket.io/?EIO=4&transport=polling`;
      for (let round = 0; round < 10; round += 1) {
        const opened = await (await fetch(polling)).text();
        const { sid } = JSON.parse(opened.slice(1)) as { readonly sid: string };
        for (let times = 0; times < 4; times += 1) {
          await fetch(`${polling}&sid=${sid}`, { method: 'POST', body: Array(21_666).fill('40').join('\x1e') });
        }
        // Once the client was told that its connection is closed, its session is unknown.
        await eventually(async () => expect((await fetch(`${polling}&sid=${sid}`)).status).toBe(400));
      }
    });

    it.each(['api', 'previews'] as const)(
      'must have closed the connections of refused WebSockets, whose clients keep them open: %s',
      async (listener) => {
        const { port } = new URL(urls[listener]);
        const handshake = 'Connection: Upgrade\r\nUpgrade: websocket\r\n';
        const sockets = Array.from({ length: 150 }, () =>
          connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true }),
        );
        await Promise.all(
          sockets.map(async (socket) => {
            socket.on('error', () => undefined).write(requestText('GET /socket.io/?EIO=4', handshake));
            await once(socket.resume(), 'end');
          }),
        );
        await eventually(async () => {
          expect((await berth.vitals()).descriptors).toBeLessThanOrEqual(before.descriptors + 20);
        });
        for (const socket of sockets) socket.destroy();
      },
    );

    it('must have stood as many requests as a connection may have, on connections that are not read', async () => {
      await allCut(unread(40, requestText('GET /api/openapi.json').repeat(8)));
    });

    it('must have stood pages of output without end that are not read', async () => {
      const command = ['sh', '-c', 'head -c 2000000 /dev/zero | tr "\\0" x; sleep 600'];
      const started = await api.call('POST', path('processes'), { command });
      const output = path(`processes/${String(started.body['id'])}/output?limit=1048576`);
      await allCut(unread(20, requestText(`GET ${output}`, authorized()).repeat(8)));
      expect((await api.call('DELETE', path(`processes/${String(started.body['id'])}`))).status).toBe(200);
    });

    it('must have closed the files that were asked for and not read', async () => {
      const connections = unread(22, requestText('GET /api/docs/swagger-ui-bundle.js').repeat(8));
      await eventually(async () => expect((await berth.vitals()).descriptors).toBeGreaterThan(before.descriptors));
      expect((await berth.vitals()).descriptors).toBeLessThan(before.descriptors + 100);
      for (const { socket } of connections) socket.destroy();
    });

    it('must have taken no bodies of strangers', async () => {
      const head = 'Content-Length: 50000000\r\nContent-Type: application/json\r\n';
      const asked = ['POST /api/containers', `PUT ${path('files?path=/tmp/x')}`].flatMap((line) =>
        Array.from({ length: 10 }, () => new RawConnection(berth.url).write(requestText(line, head))),
      );
      for (const { socket } of asked) socket.write(Buffer.alloc(50_000_000));
      for (const each of asked) expect((await each.next()).status).toBe(401);
    });

    it('must have limited connections', async () => {
      const connections = unread(600, '');
      await eventually(() =>
        expect(connections.filter(({ socket }) => socket.readableLength > 0).length).toBeGreaterThan(50),
      );
    });

    it('must have answered no page that has pointed its name here', async () => {
      const text = requestText('POST /api/auth/guest', '', '{"username":"eve"}').replace('localhost', 'evil.example');
      expect((await new RawConnection(berth.url).write(text).next()).status).toBe(421);
    });
  });

  describe('over SSH', () => {
    const pair = newKeyPair();
    let port: number;
    let own: NewContainer;

    beforeAll(async () => {
      own = await api.running({ memory_mb: 512 });
      const key = await api.call('POST', '/api/me/ssh-keys', { name: 'a', public_key: pair.public });
      expect(key.status).toBe(201);
      port = Number((await api.call('GET', '/api/ssh')).body['port']);
    });
    afterAll(() => api.call('DELETE', `/api/containers/${own.db_id}`));

    const login = (): Promise<SshVisitor> => SshVisitor.open(port, { username: own.db_id, privateKey: pair.private });

    it('must have kept no input beyond the window', async () => {
      for (let each = 0; each < 3; each += 1) {
        const visitor = await login();
        const channel = await visitor.start('exec sleep 600');
        expect(await visitor.sendBeyondWindow(channel, 300_000_000)).toBeLessThan(64_000_000);
        await visitor.end;
      }
    });

    it('must have kept no output during key exchanges that do not end, and have cut them off', async () => {
      const visitors = await Promise.all(Array.from({ length: 4 }, login));
      for (const visitor of visitors) {
        const channel = await visitor.start('exec cat /dev/zero');
        visitor.openWindow(channel);
        await once(channel, 'data');
        visitor.beginEndlessExchange();
      }
      await Promise.all(visitors.map(({ end }) => end));
    });

    it('must have answered no messages of a later stage before the login', async () => {
      const visitors = Array.from({ length: 10 }, () => SshVisitor.connect(port, { username: own.db_id }));
      for (const visitor of visitors) {
        visitor.client.once('handshake', () => visitor.requestGlobally(100_000));
      }
      await Promise.all(visitors.map(({ end }) => end));
      for (const { socket } of visitors) expect(socket.bytesRead).toBeLessThan(16_384);
    });
  });

  describe('by a container', () => {
    /** Puts a script in the place of a program. */
    const replace = (program: string, script: string): Promise<string> =>
      sh(`p=$(command -v ${program}); rm -f "$p"; printf '#!/bin/sh\\n%s\\n' '${script}' > "$p"; chmod 755 "$p"`);

    async function ask(method: string, rest: string, body?: Buffer): Promise<IncomingMessage> {
      const { hostname, port } = new URL(berth.url);
      const headers = { authorization: `Bearer ${api.token}`, ...(body && { 'content-length': body.length }) };
      const request = httpRequest({ hostname, port, method, path: path(rest), agent: false, headers });
      request.on('socket', (socket) => socket.on('error', () => undefined)).on('error', () => undefined);
      request.end(body);
      const [answer] = (await once(request, 'response')) as [IncomingMessage];
      answer.on('error', () => undefined);
      return answer;
    }

    /** Reads an answer for so long at most. @returns whether it came to an end by itself */
    async function readFor(answer: IncomingMessage, ms: number): Promise<boolean> {
      const over = new Promise<true>((resolve) => answer.once('close', () => resolve(true)).resume());
      const late = delay(ms, false as const, { ref: false });
      const ended = await Promise.race([over, late]);
      answer.destroy();
      return ended;
    }

    const free = (): Promise<void> =>
      eventually(async () => expect((await ask('GET', 'files/list?path=/')).resume().statusCode).toBe(200), {
        timeoutMs: 120_000,
      });

    beforeEach(async () => {
      container = await api.running({ memory_mb: 1024, disk_mb: 2048 });
    });

    afterEach(() => api.call('DELETE', `/api/containers/${container.db_id}`));

    it('must have stood archives with endless and impossible headers', async () => {
      for (const fields of [`comment=${'c'.repeat(28_000_000)}`, 'size=-5', 'size=Infinity', 'size=1e999']) {
        const answers = await Promise.all(
          Array.from({ length: fields.length > 1_000 ? 1 : 20 }, () => ask('PUT', 'archive?path=/tmp/a', pax(fields))),
        );
        for (const answer of answers) expect([400, 429]).toContain(answer.resume().statusCode);
      }
      await free();
    });

    it('must have stood acknowledgements of what was never sent', async () => {
      const clients = Array.from(
        { length: 4 },
        () => new TerminalClient(berth.url, { token: api.token, container: container.db_id }, { acknowledges: false }),
      );
      for (const client of clients) {
        await client.opened();
        client.type('yes 0123456789012345678901234567890123456789\n');
      }
      let rounds = 0;
      const acknowledging = setInterval(() => {
        for (const { socket } of clients) socket.emit('ack', 1_000_000_000);
        rounds += 1;
      }, 10);
      await eventually(() => expect(rounds).toBeGreaterThan(200));
      clearInterval(acknowledging);
      for (const client of clients) client.leave();
    });

    it('must have sent a signal to a hundred processes', async () => {
      const command = ['sh', '-c', 'i=0; while [ $i -lt 100 ]; do sleep 600 & i=$((i+1)); done; wait'];
      const started = await api.call('POST', path('processes'), { command });
      expect(started.status).toBe(201);
      await eventually(async () => expect(Number(await sh('ls -d /proc/[0-9]* | wc -l'))).toBeGreaterThan(100), {
        timeoutMs: 120_000,
      });
      const signalled = path(`processes/${String(started.body['id'])}/signal`);
      expect((await api.call('POST', signalled, { signal: 'KILL' })).status).toBe(200);
      await eventually(async () => expect(Number(await sh('ls -d /proc/[0-9]* | wc -l'))).toBeLessThan(50));
    });

    it('must have answered with a reason where its memory was used up, and its processes', async () => {
      const run = (command: readonly string[], timeout_ms: number) =>
        api.call('POST', path('exec'), { command, timeout_ms });
      const bombing = run(['sh', '-c', 'bomb() { bomb | bomb & }; bomb; sleep 600'], 60_000);
      await eventually(
        async () => {
          const { status, body } = await run(['true'], 20_000);
          // Where the bomb leaves the supervisor no time, the command does not start, or cannot be ended.
          const reasons = [
            [409, 'sandbox_full'],
            [503, 'container_not_responding'],
            [200, 'timed_out'],
          ];
          expect(reasons).toContainEqual([status, body['timed_out'] === true ? 'timed_out' : body['code']]);
        },
        { timeoutMs: 60_000 },
      );
      await bombing;
      await api.call('DELETE', `/api/containers/${container.db_id}`);
      container = await api.running({ memory_mb: 256 });
      const ended = await run(['sh', '-c', 'head -c 3000000000 /dev/zero | tail'], 300_000);
      expect(ended).toMatchObject({ status: 409, body: { code: 'container_not_running' } });
    });

    it('must have listed no more than a bounded number of ports', async () => {
      const command = ['sh', '-c', 'for port in $(seq 20000 20299); do nc -l -p $port & done; wait'];
      expect((await api.call('POST', path('processes'), { command })).status).toBe(201);
      const streams = await Promise.all(Array.from({ length: 20 }, () => ask('GET', 'ports')));
      for (const stream of streams) stream.resume();
      await eventually(
        async () => {
          const { ports } = (await api.call('GET', path('ports'))).body as { ports: object[] };
          expect(ports).toHaveLength(256);
        },
        { timeoutMs: 120_000 },
      );
    });

    it('must have refused a file of holes that is written as the container is asked to end', async () => {
      const trap = 'trap "truncate -s 5G /hole; exit" TERM; echo ready >/ready; while :; do sleep 0.2; done';
      await api.call('POST', path('processes'), { command: ['sh', '-c', trap], user: '0' });
      await eventually(async () => expect(await sh('cat /ready')).toBe('ready\n'));
      const resized = await api.patch(container.db_id, { memory_mb: 512 });
      expect(resized).toMatchObject({ status: 500, body: { code: 'data_too_large' } });
      const images = await real.docker.listImages({ filters: { label: [`berth.layer=${instance}`] } });
      expect(images).toEqual([]);
      const { body } = await api.get(container.db_id);
      expect(body).toMatchObject({ status: 'running', resources: { memory_mb: 1024 } });
      container = { ...container, id: String(body['id']) };
      expect(await sh('stat -c %s /hole')).toBe(`${String(5 * 2 ** 30)}\n`);
      const forked = await api.call('POST', path('fork'), {});
      expect(forked).toMatchObject({ status: 400, body: { details: [{ field: 'disk_mb' }] } });
    });

    it('must have started no command while Docker would read files of users and groups without end', async () => {
      await sh('yes line | head -c 18800000 >/etc/group');
      const run = (more: object) => api.call('POST', path('exec'), { command: ['true'], ...more });
      for (const more of [{ user: '0' }, {}]) {
        const refused = { status: 422, body: { code: 'command_not_started' } };
        await eventually(async () => expect(await run(more)).toMatchObject(refused));
      }
    });

    it('must have left the home that it is promised, whatever links its paths lead behind', async () => {
      await sh('cd /home/user; mkdir t; ln -s . t/self; echo kept >file');
      const home = '/home/user/t/self/../../user';
      const refused = { status: 409, body: { code: 'path_protected' } };
      expect(await api.call('DELETE', path(`files?path=${home}&recursive=true`))).toMatchObject(refused);
      expect(await api.call('POST', path('files/move'), { from: home, to: '/tmp/moved' })).toMatchObject(refused);
      expect(await sh('cat /home/user/file')).toBe('kept\n');
    });

    it('must have taken a limited part of the connection table of the machine', async () => {
      await api.call('DELETE', `/api/containers/${container.db_id}`);
      container = await api.running({ custom_image: SANDBOX_IMAGE });
      const outside = new OutsideWorld();
      await outside.start();
      try {
        const send = `socket(S, PF_INET, SOCK_DGRAM, 17) or die; for $port (1000 .. 20999) {
          send(S, 'x', 0, sockaddr_in($port, inet_aton('${outside.far}'))) }`;
        await real.exec(container.id, ['perl', '-MSocket', '-e', send]);
        const entries = readFileSync('/proc/net/nf_conntrack', 'utf8').split('\n');
        const taken = entries.filter((entry) => entry.includes(` dst=${outside.far} `)).length;
        expect(taken).toBeGreaterThan(1_000);
        expect(taken).toBeLessThanOrEqual(2_048);
      } finally {
        await outside.stop();
      }
    });

    it('must have reached no sandbox of another Berth, also while Docker does not keep networks apart', async () => {
      const other = new EngineSandbox();
      const engine = other.dockerEngine({ SANDBOX_FIREWALL: 'required' });
      await engine.host.prepare(other.instance);
      const target = await other.running(engine, other.spec());
      const part = await joinNetworks(real, [container.id, target]);
      try {
        real.exec(target, ['sh', '-c', 'while true; do echo hello | nc -l -p 8000; done']).catch(() => undefined);
        const ask = (address: string): string => `nc -w 2 ${address} 8000 </dev/null 2>/dev/null || true`;
        const own = (): Promise<string> => real.exec(target, ['sh', '-c', ask('127.0.0.1')]);
        await eventually(async () => expect(await own()).toBe('hello\n'));
        const { ipAddress } = (await engine.containers.inspect(target)) ?? {};
        expect(await sh(ask(String(ipAddress)))).toBe('');
      } finally {
        await part();
        await other.cleanUp();
      }
    });

    it('must have ended programs of files that flood, trickle, or claim sizes', async () => {
      await replace('head', 'exec cat /dev/zero');
      expect(await readFor(await ask('GET', 'files?path=/proc/version'), 20_000)).toBe(true);
      await replace('dd', 'while :; do echo x; sleep 1; done');
      await replace('tar', 'exec cat /dev/zero');
      const asked = ['files?path=/etc/passwd', 'archive?path=/etc', 'files/list?path=/etc'];
      for (let round = 0; round < 6; round += 1) {
        await Promise.all(
          asked.map(async (rest) => {
            await Promise.race([
              ask('GET', rest).then((answer) => readFor(answer, 1_000)),
              delay(20_000, null, { ref: false }),
            ]);
          }),
        );
      }
      await replace('stat', 'echo 9007199254740992');
      const claimed = await ask('HEAD', 'files?path=/etc/passwd');
      expect(Number(claimed.resume().headers['content-length'] ?? 0)).toBeLessThan(1e12);
    });
  });
});

/** An archive whose one entry has an extended header with these fields. */
function pax(field: string): Buffer {
  const body = record(field);
  return Buffer.concat([header('x', body.length), padded(body), header('0', 0), Buffer.alloc(1024)]);
}

/** `LENGTH field\n`, where the length counts its own digits. */
function record(field: string): Buffer {
  let length = field.length + 3;
  while (String(length).length + field.length + 2 !== length) length += 1;
  return Buffer.from(`${String(length)} ${field}\n`);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);
}

function header(type: string, size: number): Buffer {
  const block = Buffer.alloc(512);
  block.write('entry', 0);
  block.write('0000644\0', 100);
  block.write('0000000\0', 108);
  block.write('0000000\0', 116);
  block.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  block.write('00000000000\0', 136);
  block.write('        ', 148);
  block.write(type, 156);
  block.write('ustar\0', 257);
  block.write('00', 263);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { type Algorithms, type ConnectConfig, type ParsedKey, utils } from 'ssh2';
import { UserService } from '../../src/auth';
import { Database } from '../../src/database';
import { EngineError } from '../../src/engine';
import { type KeyPair, newKeyPair } from '../../src/ssh/public-key';
import type { NewContainer } from '../support/clients/api-client';
import { KeylessAgent, SshVisitor } from '../support/clients/ssh-visitor';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';
import { eventually } from '../support/eventually';
import { IS_MORE, sampled } from '../support/extent';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { Berth, type NewUser, type TestUser } from '../support/servers/berth';

const MIB = 1024 * 1024;

/** A port of the container where a program listens that reads nothing. */
const SILENT = 3001;
/** A port at which the container's sandbox does not answer. */
const HUNG = 3002;

describe('SSH', () => {
  const daemon = new FakeDaemon();
  let database: TestDatabase;
  let berth: Berth;
  let user: NewUser;
  let container: NewContainer;
  let pair: KeyPair;
  let port: number;
  let echo: Server;

  beforeAll(async () => {
    echo = createServer((socket) => void socket.on('error', () => undefined).pipe(socket));
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
    daemon.onConnect = async (_dockerId, asked) => {
      if (asked === SILENT) return new Duplex({ read: () => undefined, write: () => undefined });
      if (asked === HUNG) throw new EngineError('container_not_responding', 'it is silent');
      if (asked !== 3000) throw new EngineError('port_closed', 'nothing listens');
      const socket = connect((echo.address() as AddressInfo).port, '127.0.0.1');
      await once(socket, 'connect');
      return socket;
    };
    daemon.onProgram = (program) => {
      const line = program.command.at(-1) ?? '';
      if (line.startsWith('sleep')) return new Promise<number>(() => undefined);
      program.write('stdout', `ran ${line}`);
      return 0;
    };
    database = await openTestDatabase();
    berth = await started();
    port = await portOf(berth);
    user = await berth.user();
    container = await user.api.running({ name: 'dev' });
    pair = newKeyPair();
    await register(user, pair);
  });
  afterAll(async () => {
    await berth.stop();
    await database.drop();
    echo.close();
  });

  const started = (environment: Readonly<Record<string, string>> = {}): Promise<Berth> =>
    Berth.start({ engine: new FakeEngine(daemon), database, environment: { SSH_PORT: '0', ...environment } });
  const portOf = async (of: Berth): Promise<number> =>
    Number((await (await of.user()).api.call('GET', '/api/ssh')).body['port']);
  async function register(of: TestUser, key: KeyPair, more: object = {}): Promise<string> {
    const answer = await of.api.call('POST', '/api/me/ssh-keys', { name: 'laptop', public_key: key.public, ...more });
    expect(answer).toMatchObject({ status: 201 });
    return String(answer.body['id']);
  }
  const login = (config: ConnectConfig = {}, at = port): Promise<SshVisitor> =>
    SshVisitor.open(at, { username: 'dev', privateKey: pair.private, ...config });
  const refused = (config: ConnectConfig): Promise<string> =>
    login(config).then(
      () => 'admitted',
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );

  describe('keys', () => {
    it('must be registered with their fingerprint, listed, and be those of one user', async () => {
      const key = newKeyPair();
      const public_key = `${key.public} ada@laptop\n`;
      const body = { name: 'new', public_key, expires_in: 3600 };
      const answer = await user.api.call('POST', '/api/me/ssh-keys', body);
      expect(answer).toMatchObject({ status: 201, body: { name: 'new', type: 'ssh-ed25519', last_used_at: null } });
      const fingerprint = String(answer.body['fingerprint']);
      expect(fingerprint).toMatch(/^SHA256:[A-Za-z0-9+/]{43}$/);
      expect(Date.parse(String(answer.body['expires_at'])) - Date.now()).toBeGreaterThan(3_500_000);
      const listed = (await user.api.call('GET', '/api/me/ssh-keys')).body['ssh_keys'] as { fingerprint: string }[];
      expect(listed.map((each) => each.fingerprint)).toContain(fingerprint);
      for (const other of [user, await berth.user()]) {
        const again = await other.api.call('POST', '/api/me/ssh-keys', body);
        expect(again).toMatchObject({ status: 409, body: { code: 'ssh_key_taken' } });
      }
      const id = String(answer.body['id']);
      expect(await user.api.call('DELETE', `/api/me/ssh-keys/${id}`)).toMatchObject({ status: 200 });
      expect(await user.api.call('DELETE', `/api/me/ssh-keys/${id}`)).toMatchObject({ status: 404 });
      // Free again, also for somebody else.
      await register(await berth.user(), key);
    });

    it('must be tokens with the scope exec: limited, listed and revoked with them', async () => {
      const own = await berth.user();
      const key = newKeyPair();
      const id = await register(own, key);
      const tokens = (await own.api.call('GET', '/api/tokens')).body['tokens'] as { id: string; scopes: string[] }[];
      expect(tokens.find((token) => token.id === id)).toMatchObject({ scopes: ['exec'] });
      expect(await own.api.call('DELETE', `/api/tokens/${id}`)).toMatchObject({ status: 200 });
      expect((await own.api.call('GET', '/api/me/ssh-keys')).body).toEqual({ ssh_keys: [], count: 0 });
      expect(await refused({ privateKey: key.private })).toMatch(/authentication methods failed/);
      // Whoever had it, it is free.
      await register(await berth.user(), key);
    });

    it('must need the right to what they open, and end with the token that asks', async () => {
      const without = await berth.user('pro', ['read', 'write']);
      const answer = await without.api.call('POST', '/api/me/ssh-keys', {
        name: 'a',
        public_key: newKeyPair().public,
      });
      expect(answer).toMatchObject({ status: 403, body: { code: 'insufficient_permissions' } });
      const expiresAt = new Date(Date.now() + 3_600_000);
      const ending = await berth.user('pro', ['read', 'write', 'exec'], { expiresAt });
      const asked = { name: 'a', public_key: newKeyPair().public };
      const beyond = await ending.api.call('POST', '/api/me/ssh-keys', { ...asked, expires_in: 7200 });
      expect(beyond).toMatchObject({ status: 400, body: { details: [{ field: 'expires_in' }] } });
      const within = await ending.api.call('POST', '/api/me/ssh-keys', asked);
      expect(within).toMatchObject({ status: 201, body: { expires_at: expiresAt.toISOString() } });
    });

    const rsa = utils.generateKeyPairSync('rsa', { bits: 1024 }).public;
    it.each<[string, string, RegExp]>([
      ['nothing', '', /must start with/],
      ['a private key', newKeyPair().private.replaceAll('\n', ' '), /public key/],
      ['two lines', `${newKeyPair().public}\n${newKeyPair().public}`, /single line/],
      ['a short RSA key', rsa, /2048 bits/],
      ['a key of a device', 'sk-ssh-ed25519@openssh.com AAAA', /security key/],
      ['a certificate', 'ssh-ed25519-cert-v01@openssh.com AAAA', /must start with/],
      ['a key that is cut', newKeyPair().public.slice(0, 60), /valid key/],
      ['a key with more behind it', `${newKeyPair().public}AAAA`, /valid key/],
      ['another type than the key has', newKeyPair().public.replace('ssh-ed25519', 'ssh-rsa'), /valid key/],
      ['options', `command="x" ${newKeyPair().public}`, /must start with/],
    ])('must not be %s', async (_what, public_key, message) => {
      const answer = await user.api.call('POST', '/api/me/ssh-keys', { name: 'a', public_key });
      expect(answer.status).toBe(400);
      expect(answer.body['details']).toMatchObject([{ field: 'public_key', message: expect.stringMatching(message) }]);
    });
  });

  describe('a login', () => {
    it('must be refused alike, whether or not there is the container', async () => {
      const other = newKeyPair().private;
      const names = ['dev', container.db_id, randomUUID(), 'root', ''];
      const words = new Set<string>();
      for (const username of names) words.add(await refused({ username, privateKey: other }));
      expect([...words]).toEqual(['All configured authentication methods failed']);
      const keyless = (config: ConnectConfig) =>
        SshVisitor.open(port, { username: 'dev', ...config }).then(() => 'admitted', String);
      expect(await keyless({ password: 'secret' })).toMatch(/authentication methods failed/);
      expect(await keyless({})).toMatch(/authentication methods failed/);
    });

    it('must be by the name or the id of a container, which is looked for afterwards', async () => {
      for (const username of ['dev', container.db_id, container.id.slice(0, 12)]) {
        const visitor = await login({ username });
        expect(await visitor.exec('a "b"')).toEqual({ code: 0, stdout: 'ran a "b"', stderr: '' });
        visitor.close();
      }
      const strangers = await (await berth.user()).api.running();
      for (const [username, sentence] of [
        ['missing', 'container not found'],
        [strangers.db_id, 'not authorized'],
      ] as const) {
        const visitor = await login({ username });
        expect(await visitor.exec('true')).toEqual({ code: 255, stdout: '', stderr: `berth: ${sentence}\n` });
        visitor.close();
      }
    });

    it('must be by modern algorithms alone', async () => {
      const old: [string, Algorithms][] = [
        ['kex', { kex: ['diffie-hellman-group14-sha256', 'diffie-hellman-group1-sha1'] }],
        ['cipher', { cipher: ['aes128-cbc', '3des-cbc', 'chacha20-poly1305@openssh.com'] }],
        ['hmac', { cipher: ['aes128-ctr'], hmac: ['hmac-sha1', 'hmac-sha2-256'] }],
        ['compress', { compress: ['zlib'] }],
      ];
      for (const [what, algorithms] of old)
        expect([what, await refused({ algorithms })]).toEqual([what, expect.stringMatching(/no matching/)]);
      const rsa = utils.generateKeyPairSync('rsa', { bits: 2048 });
      await register(user, rsa);
      (await login({ privateKey: rsa.private })).close();
    });

    it('must be noted, and what it opened be in the audit with its key', async () => {
      const own = newKeyPair();
      const id = await register(user, own);
      const visitor = await login({ privateKey: own.private });
      await visitor.exec('true');
      visitor.close();
      const listed = (await user.api.call('GET', '/api/me/ssh-keys')).body['ssh_keys'] as {
        id: string;
        last_used_at: string;
      }[];
      expect(Date.parse(listed.find((key) => key.id === id)?.last_used_at ?? '')).toBeGreaterThan(Date.now() - 60_000);
      const { entries } = (await user.api.call('GET', '/api/audit?action=container.exec')).body as {
        entries: object[];
      };
      expect(entries[0]).toMatchObject({
        token_id: id,
        container_id: container.db_id,
        outcome: 'ok',
        address: '127.0.0.1',
      });
      // A key opens no route.
      const tokens = (await user.api.call('GET', '/api/tokens')).body['tokens'] as {
        id: string;
        token_prefix: string;
      }[];
      expect(tokens.find((token) => token.id === id)?.token_prefix).toMatch(/^ssh:/);
    });
  });

  describe('a connection', () => {
    it.each<[string, (own: NewUser, key: string) => Promise<unknown>]>([
      ['its key is deleted', (own, key) => own.api.call('DELETE', `/api/me/ssh-keys/${key}`)],
      ['its token is revoked', (own, key) => own.api.call('DELETE', `/api/tokens/${key}`)],
      ['its user is suspended', (own) => berth.app.get(UserService).change(own.id, { suspended: true })],
      ['its user is deleted', (own) => berth.app.get(UserService).delete(own.id)],
    ])('must end at once when %s', async (_what, end) => {
      const own = await berth.user();
      const running = await own.api.running();
      const key = newKeyPair();
      const id = await register(own, key);
      const config = { username: running.db_id, privateKey: key.private };
      const visitor = await login(config);
      const ran = visitor.exec('sleep 1000').catch(() => undefined);
      await eventually(() => expect(daemon.programs.get(running.id)?.size).toBeGreaterThan(0));
      await end(own, id);
      await visitor.end;
      await ran;
      await eventually(() => expect(daemon.programs.get(running.id)?.size ?? 0).toBe(0));
      expect(await refused(config)).toMatch(/authentication methods failed/);
    });

    it('must end when its key expires', async () => {
      const key = newKeyPair();
      const expiresAt = new Date(Date.now() + 2_000);
      const ending = await berth.user('pro', ['read', 'write', 'exec'], { expiresAt });
      await register(ending, key);
      const visitor = await login({ privateKey: key.private });
      await visitor.end;
      // The clock of timers is not that of dates: they may differ by their rounding to milliseconds.
      expect(Date.now()).toBeGreaterThanOrEqual(expiresAt.getTime() - 1);
    });

    it('must be forwarded to ports of the container alone', async () => {
      const visitor = await login();
      for (const host of ['localhost', '127.0.0.1', '::1', 'dev', container.db_id]) {
        const channel = await visitor.forward(host, 3000);
        channel.write('hello');
        expect(String(((await once(channel, 'data')) as [Buffer])[0])).toBe('hello');
        channel.end();
      }
      const others: [string, number][] = [
        ['169.254.169.254', 3000],
        ['10.0.0.1', 3000],
        ['127.0.0.2', 3000],
        ['0.0.0.0', 3000],
        ['localhost.example', 3000],
        ['localhost', 1],
        ['localhost', 0],
        ['localhost', 70_000],
        ['', 3000],
      ];
      for (const [host, asked] of others) {
        await expect(visitor.forward(host, asked)).rejects.toThrow(/open failed|failure/i);
      }
      // The client learns only that the connection failed; the audit says why.
      for (const [asked, code] of Object.entries({ 1: 'port_closed', [HUNG]: 'container_not_responding' })) {
        await expect(visitor.forward('localhost', Number(asked))).rejects.toThrow(/open failed|failure/i);
        const { body } = await user.api.call('GET', '/api/audit?action=container.forward');
        expect((body['entries'] as object[])[0]).toMatchObject({ container_id: container.db_id, outcome: code });
      }
      await expect(visitor.listen()).rejects.toThrow();
      // What is open ends with the container's run.
      const open = await visitor.forward('localhost', 3000);
      const closed = once(open.resume(), 'close');
      await user.api.stop(container.db_id);
      await closed;
      const stopped = await visitor.exec('true');
      expect(stopped).toMatchObject({ code: 255, stderr: expect.stringMatching(/container is not running: start it/) });
      await user.api.start(container.db_id);
      expect(await visitor.exec('true')).toMatchObject({ code: 0 });
      visitor.close();
    });
  });

  describe('a client that does not log in', () => {
    const opened: Socket[] = [];
    const open = async (localAddress = '127.0.0.1'): Promise<Socket> => {
      const socket = connect({ port, host: '127.0.0.1', localAddress });
      opened.push(socket.on('error', () => undefined).resume());
      await once(socket, 'connect');
      return socket;
    };
    afterEach(() => opened.splice(0).forEach((socket) => socket.destroy()));

    it('must not keep others from it, nor have more connections than a few', async () => {
      for (let each = 0; each < 60; each += 1) await open();
      await eventually(() => expect(opened.filter((socket) => socket.closed).length).toBe(40));
      opened.splice(0).forEach((socket) => socket.destroy());
      await eventually(async () => (await login()).close());
    });

    it('must be closed, the oldest first, where thousands come from everywhere', async () => {
      // Several times what is kept, and each costs a millisecond of processor time or more.
      for (let each = 0; each < (IS_MORE ? 4_000 : 800); each += 100) {
        const address = (at: number): string => `127.1.${String(Math.floor(at / 200))}.${String((at % 200) + 1)}`;
        await Promise.all(Array.from({ length: 100 }, (_each, at) => open(address(each + at))));
        if (each % 400 === 0) (await login()).close();
      }
      await eventually(() => expect(opened.filter((socket) => !socket.closed).length).toBeLessThanOrEqual(200));
      (await login()).close();
    });

    it('must be closed if it speaks nothing that is SSH', async () => {
      for (const words of ['GET / HTTP/1.1\r\n\r\n', `SSH-2.0-x\r\n${'\xff'.repeat(64)}`, `${'x'.repeat(100_000)}\n`]) {
        const socket = await open();
        socket.write(words, 'latin1');
        socket.resume();
        await once(socket, 'close');
      }
      (await login()).close();
    });
  });

  describe('a client that breaks the protocol', () => {
    it('is disconnected if it sends more input than the window of a channel allows', async () => {
      const visitor = await login();
      const channel = await visitor.forward('localhost', SILENT);
      expect(await visitor.sendBeyondWindow(channel, 128 * MIB)).toBeLessThan(32 * MIB);
      await visitor.end;
    });

    it('is disconnected if its programs leave more than 64 MiB of input unread, in all of its connections', async () => {
      const input = Buffer.alloc(2 * MIB);
      const [first, second] = [await login(), await login()];
      for (let each = 0; each < 10; each += 1) (await first.forward('localhost', SILENT)).write(input);
      const filled = await Promise.all(Array.from({ length: 60 }, () => second.forward('localhost', SILENT)));
      for (const channel of filled) channel.on('error', () => undefined).write(input);
      await second.end;
      // What is within the bound goes on, and so do others.
      expect(await first.exec('true')).toMatchObject({ code: 0 });
      first.close();
    });

    it('is disconnected at its first message of the connection protocol before the login', async () => {
      const visitor = SshVisitor.connect(port, { username: 'dev', privateKey: pair.private });
      await once(visitor.client, 'handshake');
      const before = visitor.socket.bytesRead;
      visitor.requestGlobally(100_000);
      await visitor.end;
      // The server's offer of signatures, and the first answers of the login.
      expect(visitor.socket.bytesRead - before).toBeLessThan(1_024);
    });

    it('is disconnected if it sends more than any login needs', async () => {
      const socket = connect(port, '127.0.0.1').on('error', () => undefined);
      const closed = new Promise((resolve) => socket.resume().once('close', resolve));
      const ignored = Buffer.concat([Buffer.from([0, 0, 0, 28, 4, 2, 0, 0, 0, 18]), Buffer.alloc(22)]);
      socket.write('SSH-2.0-flood\r\n');
      // A server that reads them all would never end the connection before the time for the login is over.
      const began = Date.now();
      for (let each = 0; each < 1_000 && socket.writable; each += 1) {
        if (!socket.write(Buffer.concat(Array.from({ length: 1_000 }, () => ignored)))) {
          await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), closed]);
        }
      }
      await closed;
      expect(socket.bytesWritten).toBeLessThan(16 * MIB);
      expect(Date.now() - began).toBeLessThan(20_000);
    });

    it('is disconnected if it tries again and again to log in without a key', async () => {
      let attempts = 0;
      const visitor = SshVisitor.connect(port, {
        username: 'dev',
        authHandler: (_left, _partial, next) => {
          attempts += 1;
          next({ type: 'password', username: 'dev', password: 'secret' });
        },
      });
      await visitor.end;
      expect(attempts).toBeLessThanOrEqual(12);
    });
  });

  describe('a stranger with a public key', () => {
    const OFFERS: readonly [how: string, signature: Buffer | null][] = [
      ['unsigned', null],
      ['signed wrongly', Buffer.alloc(64)],
    ];
    it.each(sampled(OFFERS))('is charged itself for offering it, not its owner: %s', async (_how, signature) => {
      await berth.stop();
      berth = await started({ RATE_LIMIT_PER_MINUTE: '60', RATE_LIMIT_REFUSALS_PER_MINUTE: '10' });
      user = { ...user, api: berth.as(user).api };
      port = await portOf(berth);
      (await login()).close();
      const key = utils.parseKey(pair.public) as ParsedKey;
      let offers = 0;
      for (let round = 0; round < 6; round += 1) {
        const visitor = SshVisitor.connect(port, {
          username: 'dev',
          localAddress: '127.9.9.9',
          authHandler: (_left, _partial, next) => {
            offers += 1;
            next({ type: 'agent', username: 'dev', agent: new KeylessAgent(key, signature) });
          },
        });
        await visitor.end;
      }
      expect(offers).toBeGreaterThan(25);
      expect((await user.api.call('GET', '/api/containers')).status).toBe(200);
      (await login()).close();
      // The stranger's address is used up.
      const stranger = SshVisitor.connect(port, {
        username: 'dev',
        localAddress: '127.9.9.9',
        privateKey: pair.private,
      });
      await stranger.end;
    });
  });

  describe('the server', () => {
    it('must have one host key in all its processes, which a file replaces', async () => {
      const keysOf = async (of: Berth): Promise<unknown> =>
        (await (await of.user()).api.call('GET', '/api/ssh')).body['host_keys'];
      const known = await keysOf(berth);
      expect(known).toMatchObject([{ type: 'ssh-ed25519', public_key: expect.stringMatching(/^ssh-ed25519 AAAA/) }]);
      await berth.stop();
      berth = await started({ SSH_ADDRESS: 'ssh.example.test:22' });
      user = { ...user, api: berth.as(user).api };
      expect(await keysOf(berth)).toEqual(known);
      const shown = await user.api.call('GET', '/api/ssh');
      expect(shown.body).toMatchObject({ host: 'ssh.example.test', port: 22 });
      const stored: unknown = await berth.app.get(Database).manager.query('SELECT private_key FROM ssh_host_keys');
      expect(JSON.stringify(stored)).not.toContain('PRIVATE KEY');
    });

    it('must say that it is off', async () => {
      await berth.stop();
      berth = await started({ SSH_PORT: 'off' });
      user = { ...user, api: berth.as(user).api };
      expect(await user.api.call('GET', '/api/ssh')).toMatchObject({ status: 409, body: { code: 'ssh_disabled' } });
      expect(await user.api.call('GET', '/api/me/ssh-keys')).toMatchObject({ status: 200 });
    });
  });
});

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { blocksOf } from '../support/clients/document-blocks';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { freePort } from '../support/free-port';
import { Berth } from '../support/servers/berth';
import { PreviewApplication } from '../support/servers/preview-application';

const DOMAIN = 'berth-previews.example';

/** Where a proxy listens and leads to, and the files of its certificate. */
interface Setting {
  readonly folder: string;
  readonly port: number;
  readonly upstream: number;
  readonly certificate: string;
  readonly key: string;
}

/** The proxy's settings in the document, with this machine's ports and certificate. @returns the command to start it */
const PROXIES: Readonly<Record<string, (written: string, setting: Setting) => string[]>> = {
  nginx: (written, { folder, port, upstream, certificate, key }) => {
    const file = join(folder, 'nginx.conf');
    const server = replaced(written, [
      ['listen 443 ssl;', `listen 127.0.0.1:${String(port)} ssl;`],
      [/ssl_certificate .*;/, `ssl_certificate ${certificate};`],
      [/ssl_certificate_key .*;/, `ssl_certificate_key ${key};`],
      ['127.0.0.1:8081', `127.0.0.1:${String(upstream)}`],
    ]);
    const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder};`);
    const head = `daemon off; pid ${folder}/pid; error_log ${folder}/log; events {}`;
    writeFileSync(file, `${head} http { access_log off; ${paths.join(' ')} ${server} }`);
    return ['nginx', '-e', `${folder}/log`, '-c', file];
  },
  caddy: (written, { folder, port, upstream, certificate, key }) => {
    const file = join(folder, 'Caddyfile');
    const site = replaced(written, [
      [`*.${DOMAIN} {`, `*.${DOMAIN}:${String(port)} {`],
      [/tls \{[^}]*\}/, `tls ${certificate} ${key}`],
      ['127.0.0.1:8081', `127.0.0.1:${String(upstream)}`],
    ]);
    writeFileSync(file, `{\n  admin off\n  auto_https disable_redirects\n}\n${site}`);
    return ['caddy', 'run', '--config', file];
  },
};

function replaced(written: string, changes: readonly (readonly [string | RegExp, string])[]): string {
  return changes.reduce((before, [from, to]) => {
    const after = before.replace(from, to);
    if (after === before) throw new Error(`the document has no ${String(from)}`);
    return after;
  }, written);
}

/** The block of the document that sets this proxy up. */
function writtenFor(name: string): string {
  const blocks = blocksOf('docs/previews.md').filter(({ heading }) => heading === 'Setting up');
  return (
    blocks.find(({ language, text: code }) => (name === 'nginx' ? language === name : code.startsWith('*.')))?.text ??
    ''
  );
}

describe.each(Object.keys(PROXIES))('previews behind %s, set up as the document says', (name) => {
  // Not every machine has them.
  const onProxy = spawnSync('which', [name]).status === 0 ? it : it.skip;
  const folder = mkdtempSync(join(tmpdir(), `berth-${name}-`));
  const application = new PreviewApplication();
  let berth: Berth;
  let proxy: ChildProcess;
  let port: number;
  let host: string;
  let token: string;

  beforeAll(async () => {
    const daemon = new FakeDaemon();
    await application.start(daemon);
    const upstream = await freePort();
    const environment = { PREVIEW_PORT: String(upstream), PREVIEW_DOMAIN: DOMAIN, TRUSTED_PROXIES: 'loopback' };
    berth = await Berth.start({ engine: new FakeEngine(daemon), environment });
    const user = await berth.user();
    ({ token } = user);
    host = `3000-${(await user.api.running()).db_id}.${DOMAIN}`;
    port = await freePort();
    const [certificate, key] = [join(folder, 'certificate.pem'), join(folder, 'key.pem')];
    const asked = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', certificate];
    const named = ['-subj', '/CN=previews', '-addext', `subjectAltName=DNS:*.${DOMAIN}`];
    execFileSync('openssl', [...asked, ...named], { stdio: 'ignore' });
    const command = PROXIES[name]?.(writtenFor(name), { folder, port, upstream, certificate, key }) ?? [];
    proxy = spawn(command[0] ?? '', command.slice(1), { stdio: 'ignore', env: { ...process.env, HOME: folder } });
    proxy.on('error', () => undefined);
  });
  afterAll(async () => {
    proxy.kill();
    await berth.stop();
    application.stop();
    rmSync(folder, { recursive: true });
  });

  function send(path: string, options: { headers?: Record<string, string>; body?: string } = {}) {
    const headers = { host, 'berth-token': token, ...options.headers };
    const method = options.body === undefined ? 'GET' : 'POST';
    const to = { host: '127.0.0.1', servername: host, port, path, method, headers, agent: false } as const;
    const request = httpsRequest({ ...to, rejectUnauthorized: false });
    request.end(options.body);
    return request;
  }
  async function open(path: string, options = {}): Promise<IncomingMessage> {
    return ((await once(send(path, options), 'response')) as [IncomingMessage])[0];
  }

  onProxy('must pass requests, large bodies, Server-Sent Events as they come, and WebSockets', async () => {
    await eventually(async () => expect(await text(await open('/path'))).toBe('GET /path'));
    const forged = { 'x-forwarded-for': '192.0.2.9', 'x-forwarded-host': 'evil.example' };
    await open('/', { headers: forged });
    expect(application.seen.at(-1)?.headers).toMatchObject({
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': host,
      host: 'localhost:3000',
    });
    // Not sent back at the same time: that hangs behind nginx 1.26.
    expect(await text(await open('/length', { body: 'x'.repeat(20_000_000) }))).toBe('20000000');
    const stream = await open('/events');
    expect(String((await once(stream, 'data'))[0])).toContain('data: 1');
    application.sendEvent('2');
    expect(String((await once(stream, 'data'))[0])).toContain('data: 2');
    stream.destroy();
    const upgrade = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13' };
    const handshake = send('/', { headers: { ...upgrade, 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' } });
    const [, socket] = (await once(handshake, 'upgrade')) as [IncomingMessage, Socket];
    socket.write('hello');
    expect(String((await once(socket, 'data'))[0])).toBe('hello');
    socket.destroy();
  });
});

import { load } from 'js-yaml';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { environmentSchema, parseConfig } from '../../src/config';
import { Metrics } from '../../src/metrics';

const read = (file: string): string => readFileSync(`deploy/${file}`, 'utf8');
const SECRETS_KEY = Buffer.alloc(32, 7).toString('base64');

interface Service {
  readonly network_mode?: string;
  readonly cap_add?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly stop_grace_period?: string;
}

const compose = (file: string): Readonly<Record<string, Service>> =>
  (load(read(file).replaceAll('!reset ', '')) as { services: Record<string, Service> }).services;

/** As Compose fills in what `deploy/.env` says. */
function filledIn(environment: Readonly<Record<string, string>>): Record<string, string> {
  const given: Record<string, string> = { POSTGRES_PASSWORD: 'secret', SECRETS_KEY, SANDBOX_DNS: '192.0.2.53' };
  const fill = (text: string): string => text.replace(/\$\{(\w+)[^}]*\}/g, (_whole, name: string) => given[name] ?? '');
  return Object.fromEntries(Object.entries(environment).map(([name, text]) => [name, fill(text)]));
}

/** The settings of a file of lines `NAME=value`. */
function settingsIn(file: string): Record<string, string> {
  const lines = [...read(file).matchAll(/^(\w+)=(.*)$/gm)];
  return Object.fromEntries(lines.map(([, name = '', value = '']) => [name, value]));
}

describe('what is in deploy/', () => {
  it.each(['alerts.yml', 'grafana-dashboard.json'])('must ask for metrics that there are: %s', async (file) => {
    const text = read(file);
    const named = new Set(text.match(/\b(berth|process|nodejs)_\w+/g));
    const files = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
    const code = files.map((name) => readFileSync(`src/${name}`, 'utf8'));
    const made = code.flatMap((each) => [...each.matchAll(/\bname: '(berth_\w+)'/g)].map(([, name]) => name));
    const ofProcess = [...(await new Metrics().text()).matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name);
    const known = new Set([...made, ...ofProcess]);
    const unknown = [...named].filter(
      (name) => !known.has(name) && !known.has(name.replace(/_(bucket|sum|count)$/, '')),
    );
    expect(named.size).toBeGreaterThan(5);
    expect(unknown).toEqual([]);
  });

  it('must configure a server that starts in production: with Compose, in a network of its own, and as a service', () => {
    const base = compose('compose.yaml')['berth']?.environment ?? {};
    const override = compose('compose.own-network.yaml')['berth']?.environment ?? {};
    for (const environment of [base, { ...base, ...override }, { ...settingsIn('berth.env.example'), SECRETS_KEY }]) {
      expect(Object.keys(environment).filter((name) => !(name in environmentSchema.shape))).toEqual([]);
      expect(parseConfig({ ...filledIn(environment), NODE_ENV: 'production' })).toMatchObject({
        SANDBOX_RUNTIME: 'runsc',
      });
    }
    const asked = [...read('compose.yaml').matchAll(/\$\{(\w+):\?/g)].map(([, name]) => name);
    expect(Object.keys(settingsIn('compose.env.example')).sort()).toEqual([...new Set(asked)].sort());
  });

  it('requires the host firewall in each of its examples, but for the file that says to go without it', () => {
    const berth = compose('compose.yaml')['berth'];
    const service = settingsIn('berth.env.example');
    expect(berth).toMatchObject({ network_mode: 'host', cap_add: ['NET_ADMIN', 'NET_RAW'] });
    expect(filledIn(berth?.environment ?? {})).toMatchObject({ HOST: '127.0.0.1', SANDBOX_FIREWALL: 'required' });
    expect(
      service['SANDBOX_FIREWALL'] ?? parseConfig({ NODE_ENV: 'production', SECRETS_KEY }).SANDBOX_FIREWALL,
    ).not.toBe('off');
    expect(read('compose.own-network.yaml')).toMatch(/^#.*NO host firewall/m);
  });

  // Where there is no systemd, as in most containers, nothing can be said of it.
  const onSystemd = existsSync('/usr/bin/systemd-analyze') ? it : it.skip;

  onSystemd('must have a unit that systemd finds nothing wrong with, and little exposed', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'berth-unit-'));
    const unit = join(folder, 'berth.service');
    // A node of another place is one all the same.
    writeFileSync(unit, read('berth.service').replace('/usr/bin/node', process.execPath));
    const analyze = (...args: readonly string[]): Promise<{ stderr: string }> =>
      promisify(execFile)('systemd-analyze', [...args, unit]);
    expect((await analyze('verify')).stderr).not.toContain('berth.service');
    // In tenths: it fails above.
    await analyze('security', '--offline=true', '--threshold=20', '--no-pager');
    rmSync(folder, { recursive: true });
  });

  it('must give a server its time to end', () => {
    const needed = parseConfig({}).SHUTDOWN_GRACE_SECONDS + 15;
    const [, unit] = /^TimeoutStopSec=(\d+)$/m.exec(read('berth.service')) ?? [];
    expect(Number(unit)).toBeGreaterThan(needed);
    expect(parseInt(compose('compose.yaml')['berth']?.stop_grace_period ?? '', 10)).toBeGreaterThan(needed);
  });

  it('must build the image of what there is, and start what the build makes', () => {
    const copied = [...read('Dockerfile').matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap(([, files = '']) =>
      files.split(' '),
    );
    expect(copied.filter((file) => !existsSync(file))).toEqual([]);
    const allowed = [...read('Dockerfile.dockerignore').matchAll(/^!(.*)$/gm)].map(([, file]) => file);
    expect([...allowed].sort()).toEqual([...copied].sort());
    for (const file of ['Dockerfile', 'berth.service']) expect(read(file)).toContain('dist/src/main.js');
    expect(existsSync('src/main.ts')).toBe(true);
  });

  it('must check health by what the server says of its life', async () => {
    const [, json = '[]'] = /HEALTHCHECK[^[]*CMD (\[.*\])$/m.exec(read('Dockerfile')) ?? [];
    const [, ...args] = JSON.parse(json) as string[];
    const seen: (string | undefined)[] = [];
    let status = 200;
    const server = createServer(({ url }, answer) => {
      seen.push(url);
      answer.writeHead(status).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const PORT = String((server.address() as AddressInfo).port);
    const check = (): Promise<unknown> => promisify(execFile)(process.execPath, args, { env: { PORT } });
    await check();
    status = 503;
    await expect(check()).rejects.toMatchObject({ code: 1 });
    expect(seen).toEqual(['/health/live', '/health/live']);
    server.close();
    await expect(check()).rejects.toMatchObject({ code: 1 });
  });
});

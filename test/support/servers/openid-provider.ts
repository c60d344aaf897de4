import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

const SCRIPT = 'test/support/servers/openid-provider-process.mjs';
const LONGEST_WALK = 10;

/** What the provider says of an account. */
export type AccountClaims = { readonly sub: string } & Readonly<Record<string, unknown>>;

/** An OpenID provider in a process of its own. Each start has new signing keys. */
export class OpenIdTestProvider {
  private constructor(
    readonly issuer: string,
    private readonly process: ChildProcess,
  ) {}

  /** @param options.clockShiftMs by how much its clock is ahead; `issuer`: of one that has ended, to take its place */
  static async start(options: { clockShiftMs?: number; issuer?: string } = {}): Promise<OpenIdTestProvider> {
    const port = options.issuer === undefined ? '0' : new URL(options.issuer).port;
    const child = spawn(process.execPath, [SCRIPT, port, String(options.clockShiftMs ?? 0)], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { PATH: process.env['PATH'], NODE_NO_WARNINGS: '1' },
    });
    for await (const line of createInterface({ input: child.stdout })) {
      if (line.startsWith('http://')) return new OpenIdTestProvider(line, child);
    }
    throw new Error('the OpenID provider did not start');
  }

  /** The settings of a server that uses it. */
  get environment(): Record<string, string> {
    return { OIDC_ISSUER: this.issuer, OIDC_CLIENT_ID: 'berth', OIDC_CLIENT_SECRET: 'a-secret-of-the-tests' };
  }

  /** Signs in whoever comes from now on as this account; null: it refuses them. */
  async signsIn(claims: AccountClaims | null): Promise<void> {
    await fetch(`${this.issuer}/account`, { method: 'POST', body: JSON.stringify({ claims }) });
  }

  async stop(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    this.process.kill('SIGKILL');
    await once(this.process, 'exit');
  }
}

/** A browser, as far as redirects and cookies matter. */
export class TestBrowser {
  private readonly cookies = new Map<string, string>();

  /** Follows redirects while their addresses are before `until`. @returns where the browser is sent in the end */
  async walk(url: string, until: (url: URL) => boolean = () => false): Promise<URL> {
    let at = new URL(url);
    for (let steps = 0; steps < LONGEST_WALK; steps += 1) {
      const { location } = await this.open(at);
      if (location === null) return at;
      at = new URL(location, at);
      if (until(at) || at.hash !== '') return at;
    }
    throw new Error('too many redirects');
  }

  private async open(url: URL): Promise<{ location: string | null }> {
    const own = [...this.cookies].filter(([key]) => key.startsWith(`${url.host} `));
    const header = own.map(([key, value]) => `${key.slice(url.host.length + 1)}=${value}`).join('; ');
    const response = await fetch(url, { redirect: 'manual', headers: header === '' ? {} : { cookie: header } });
    for (const set of response.headers.getSetCookie()) {
      const [pair = ''] = set.split(';');
      const [name = '', ...value] = pair.split('=');
      if (/max-age=0/i.test(set)) this.cookies.delete(`${url.host} ${name}`);
      else this.cookies.set(`${url.host} ${name}`, value.join('='));
    }
    await response.arrayBuffer();
    return { location: response.headers.get('location') };
  }
}

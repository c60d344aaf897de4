import { NodeWatch } from '../../src/containers/nodes/node-watch';
import { Clock } from '../../src/scheduling/clock';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BrowserContext, Page } from 'playwright-core';
import { SMALL, testImage } from '../support/clients/api-client';
import { Berth, type TestUser } from '../support/servers/berth';
import { ConsoleBrowser, consolePages } from '../support/clients/console-browser';
import { OpenIdTestProvider } from '../support/servers/openid-provider';
import { eventually } from '../support/eventually';
import { FakeCluster } from '../support/fakes/fake-cluster';
import { FakeEngine } from '../support/fakes/fake-engine';

jest.setTimeout(300_000);

let engine: FakeEngine;
let berth: Berth;
let browser: ConsoleBrowser;

beforeAll(async () => {
  engine = new FakeEngine();
  berth = await Berth.start({ engine, environment: { VOLUME_COPY_IMAGE: testImage() } });
  browser = await ConsoleBrowser.launch(berth.url);
});

afterAll(async () => {
  await browser.close();
  await berth.stop();
});

/** A user with the console open, in a browser of their own. */
async function somebody(tier = 'pro'): Promise<{ user: TestUser; page: Page; context: BrowserContext }> {
  const user = await berth.user(tier);
  const context = await browser.context();
  return { user, page: await browser.signedIn(user, context), context };
}

const row = (page: Page, name: string) => page.getByRole('row').filter({ has: page.getByRole('link', { name }) });

describe('the console', () => {
  it('must be served under a policy that lets only its own scripts run, and be kept by browsers as far as may be', async () => {
    const answer = await fetch(berth.url, { headers: { 'accept-encoding': 'br' } });
    expect(answer.status).toBe(200);
    const policy = answer.headers.get('content-security-policy') ?? '';
    expect(policy).toContain("script-src 'self';");
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(answer.headers.get('content-encoding')).toBe('br');
    expect(answer.headers.get('cache-control')).toBe('no-cache');
    const etag = answer.headers.get('etag') ?? '';
    const same = await fetch(berth.url, { headers: { 'accept-encoding': 'br', 'if-none-match': etag } });
    expect(same.status).toBe(304);
    const script = /src="(\/assets\/[^"]+\.js)"/.exec(await answer.text())?.[1] ?? '';
    const asset = await fetch(`${berth.url}${script}`);
    expect(asset.headers.get('cache-control')).toContain('immutable');
    expect(asset.headers.get('content-type')).toBe('text/javascript; charset=utf-8');
  });

  it('must load at most 150 KB of scripts and styles for a page, compressed, and 90 KB for the first', async () => {
    const signedIn = await berth.user('pro', ['read', 'write', 'exec', 'admin']);
    const { db_id } = await signedIn.api.running({ name: 'seen' });
    const folder = 'apps/console/dist/assets';
    const sizeOf = (name: string): number => {
      const compressed = join(folder, `${name}.gz`);
      return statSync(existsSync(compressed) ? compressed : join(folder, name)).size;
    };
    const page = await browser.signedIn(signedIn);
    const files = new Set<string>();
    page.on('request', (request) => {
      const name = /\/assets\/([^/]+\.(?:js|css))$/.exec(request.url())?.[1];
      if (name !== undefined) files.add(name);
    });
    const sizes: [path: string, bytes: number][] = [];
    for (const [path, heading] of consolePages(db_id)) {
      // A change of the fragment alone would load nothing.
      await page.goto('about:blank');
      files.clear();
      await page.goto(path);
      await page.getByRole('heading', { name: heading, exact: true }).waitFor();
      await eventually(async () => expect(await page.getByText('Loading…').count()).toBe(0));
      sizes.push([path, [...files].reduce((sum, name) => sum + sizeOf(name), 0)]);
    }
    await page.context().close();
    expect(sizes.filter(([path, size]) => size === 0 || size > (path === '/' ? 90 : 150) * 1024)).toEqual([]);
  });

  it('must take no address from the API, nor leave an unknown one without its error', async () => {
    for (const path of [
      '/api',
      '/api/nonsense',
      '/nonsense',
      '/containers',
      '/assets/nonsense.js',
      '/assets/..%2findex.html',
    ]) {
      const answer = await fetch(`${berth.url}${path}`);
      expect([path, answer.status]).toEqual([path, 404]);
      expect(await answer.json()).toMatchObject({ code: 'route_not_found' });
    }
    const off = await Berth.start({ engine: new FakeEngine(), environment: { CONSOLE: 'off' } });
    expect((await fetch(off.url)).status).toBe(404);
    await off.stop();
  });

  it('must say what to do where its script does not come, and nothing of that otherwise', async () => {
    const context = await browser.context();
    await context.route('**/*.js', (route) => route.abort());
    const page = await context.newPage();
    await page.goto('/');
    await page.getByText('reload the page').waitFor();
    await context.unroute('**/*.js');
    await page.reload();
    await page.getByLabel('Token').waitFor();
    expect(await page.getByText('reload the page').count()).toBe(0);
    await context.close();
  });

  it('must keep the token where only this origin reads it, share it with new tabs, and revoke it at sign-out', async () => {
    const { user, page, context } = await somebody();
    expect(page.url()).toBe(`${berth.url}/`);
    expect(await page.evaluate('[document.cookie, localStorage.length]')).toEqual(['', 0]);
    const second = await context.newPage();
    await second.goto('/usage');
    await second.getByRole('heading', { name: 'Usage', exact: true }).waitFor();
    const tokens = async (): Promise<unknown[]> =>
      (await user.api.call('GET', '/api/tokens')).body['tokens'] as unknown[];
    expect(await tokens()).toHaveLength(2);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await second.getByText('You signed out in another tab.').waitFor();
    expect(await tokens()).toHaveLength(1);
    await context.close();
  });

  it('signs in by a link that is opened in a tab with the sign-in page', async () => {
    const user = await berth.user();
    const context = await browser.context();
    const page = await context.newPage();
    await page.goto('/');
    await page.getByLabel('Token').waitFor();
    const { body } = await user.api.call('POST', '/api/auth/codes');
    await page.evaluate(`location.href = '/#code=${String(body['code'])}'`);
    await page.getByRole('heading', { name: 'Containers', exact: true }).waitFor();
    expect(page.url()).toBe(`${berth.url}/`);
    // A code that comes later is taken out of the address, and not used.
    await page.evaluate("location.hash = 'code=later'");
    await eventually(() => expect(page.url()).toBe(`${berth.url}/`));
    await context.close();
  });

  it('waits for the session of another tab while that tab is busy', async () => {
    const { page, context } = await somebody();
    const second = await context.newPage();
    // The answer comes long after the time that a tab without others waits.
    await page.evaluate('setTimeout(() => { const end = Date.now() + 2000; while (Date.now() < end); }, 50)');
    const seen: string[] = [];
    await second.exposeFunction('seen', (text: string) => seen.push(text));
    await second.addInitScript(`addEventListener('DOMContentLoaded', () =>
      new MutationObserver(() => window.seen(document.body.innerText)).observe(document.body, { childList: true, subtree: true }))`);
    await second.goto('/usage');
    await second.getByRole('heading', { name: 'Usage', exact: true }).waitFor();
    expect(seen.filter((text) => text.includes('Continue as guest'))).toEqual([]);
    await context.close();
  });

  it('keeps the session when the browser is closed if the user wants that, and until the sign-out alone', async () => {
    const user = await berth.user();
    const context = await browser.context();
    let page = await context.newPage();
    const reopen = async (): Promise<void> => {
      const blank = await context.newPage();
      await page.close();
      page = blank;
      await page.goto('/');
    };
    await page.goto('/');
    await page.getByLabel('Token').fill(user.token);
    await page.getByLabel('Stay signed in').check();
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Containers', exact: true }).waitFor();
    await reopen();
    await page.getByRole('heading', { name: 'Containers', exact: true }).waitFor();
    await page.getByLabel('Stay signed in').uncheck();
    expect(await page.evaluate('localStorage.getItem("berth.session")')).toBeNull();
    await page.reload();
    await page.getByRole('heading', { name: 'Containers', exact: true }).waitFor();
    await page.getByLabel('Stay signed in').check();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Token').waitFor();
    expect(await page.evaluate('localStorage.getItem("berth.session")')).toBeNull();
    await reopen();
    await page.getByLabel('Token').waitFor();
    await context.close();
  });

  it('must let people in by a token and as guests, and say in words why not', async () => {
    const context = await browser.context();
    const page = await context.newPage();
    await page.goto('/#code=unknown');
    await page.getByText('This sign-in link has expired or was already used').waitFor();
    await page.getByLabel('Token').fill('nonsense');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('This token is unknown, revoked or expired.').waitFor();
    await page.getByLabel('guest').fill('x');
    await page.getByRole('button', { name: 'Continue as guest' }).click();
    await page.getByText('must be 2 to 30').waitFor();
    await page.getByLabel('guest').fill('grace');
    await page.getByRole('button', { name: 'Continue as guest' }).click();
    await page.getByText('You are a guest until').waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    const user = await berth.user();
    await page.getByLabel('Token').fill(user.token);
    await page.keyboard.press('Enter');
    await page.getByText('No containers yet').waitFor();
    await context.close();
  });

  it('signs in through an OpenID provider by a click, and says in words why not', async () => {
    const provider = await OpenIdTestProvider.start();
    const environment = { ...provider.environment, OIDC_NAME: 'Example Login', GUEST_LOGIN: 'deny' };
    const other = await Berth.start({ engine: new FakeEngine(), environment });
    const context = await browser.context();
    const page = await context.newPage();
    await provider.signsIn(null);
    await page.goto(`${other.url}/tokens`);
    await page.getByRole('link', { name: 'Continue with Example Login' }).click();
    await page.getByText('You do not have access. Ask your administrator.').waitFor();
    expect(await page.getByText('Or try it as a guest').count()).toBe(0);
    expect(new URL(page.url()).hash).toBe('');
    expect(await browser.faultsOf(page)).toEqual([]);
    await provider.signsIn({ sub: '1', preferred_username: 'zoe' });
    await page.getByLabel('Stay signed in on this browser').check();
    await page.getByRole('link', { name: 'Continue with Example Login' }).click();
    await page.getByRole('heading', { name: 'Tokens', exact: true }).waitFor();
    expect(new URL(page.url()).pathname).toBe('/tokens');
    // It outlives the tab.
    await page.close();
    const later = await context.newPage();
    await later.goto(other.url);
    await later.getByText('zoe', { exact: true }).first().waitFor();
    await context.close();
    await other.stop();
    await provider.stop();
  });

  it('must show a creation as it goes on, and whatever happens elsewhere, without being asked', async () => {
    const { user, page, context } = await somebody();
    const hold = engine.holdOn('containers.start');
    await page.getByRole('link', { name: 'Create your first container' }).click();
    await page.getByLabel('Name', { exact: true }).fill('first');
    await page.getByRole('radio', { name: 'Another image' }).check();
    await page.getByLabel('Image reference').fill(testImage());
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    await page.getByRole('heading', { name: 'first', exact: true }).waitFor();
    await page.locator('.page-head').getByText('Creating', { exact: true }).waitFor();
    await page.getByRole('link', { name: /^Containers/ }).click();
    await row(page, 'first').getByText('Creating', { exact: true }).waitFor();
    hold.release();
    await row(page, 'first').getByText('Running').waitFor();
    await page.getByText('1 of ').waitFor();
    const id = await row(page, 'first').getAttribute('data-id');
    await user.api.stop(String(id));
    await row(page, 'first').getByText('Stopped').waitFor();
    await user.api.update(String(id), { name: 'renamed', memory_mb: 512, cpu_shares: 500, disk_mb: 1024 });
    await row(page, 'renamed').getByText('512 MB').waitFor();
    await row(page, 'renamed').getByRole('button', { name: 'Start renamed' }).click();
    await row(page, 'renamed').getByText('Running').waitFor();
    await user.api.delete(String(id));
    await page.getByText('No containers yet').waitFor();
    await context.close();
  });

  it('must take a deletion back, with the container as it was', async () => {
    const { user, page, context } = await somebody();
    await user.api.running({ name: 'precious' });
    await row(page, 'precious').getByRole('button', { name: 'More for precious' }).click();
    await page.getByRole('menuitem', { name: 'Delete' }).click();
    await page.getByText('No containers yet').waitFor();
    await page.getByRole('button', { name: 'Undo' }).click();
    await row(page, 'precious').getByText('Running').waitFor();
    await context.close();
  });

  it('must say what a field is refused for, and what the tier allows, in words', async () => {
    const { user, page, context } = await somebody('free');
    await page.getByRole('link', { name: 'Create your first container' }).click();
    await page.getByRole('radio', { name: 'Custom', exact: true }).check();
    await page.getByLabel('Memory (GB)').fill('999');
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    await page.getByRole('alert').getByText('Memory: Your tier allows 256 MB to 2 GB.').waitFor();
    await page.getByRole('link', { name: 'Cancel' }).click();
    const limits = (await user.api.call('GET', '/api/me')).body['limits'] as { containers: number };
    for (let made = 0; made < limits.containers; made += 1) await user.api.running({});
    await eventually(async () => expect(await page.getByRole('row').count()).toBe(limits.containers + 1));
    await page.getByRole('link', { name: 'New container' }).click();
    await page.getByText(`allows ${String(limits.containers)} containers`).waitFor();
    expect(await page.getByRole('button', { name: 'Create', exact: true }).isDisabled()).toBe(true);
    await context.close();
  });

  it.each(['light', 'dark'] as const)('must have nothing that axe finds, on any page, in %s', async (colorScheme) => {
    const user = await berth.user('pro', ['read', 'write', 'exec', 'admin']);
    const { db_id } = await user.api.running({ name: 'seen', labels: { team: 'core' } });
    await user.api.delete((await user.api.running({ name: 'gone' })).db_id);
    await user.api.call('POST', `/api/containers/${db_id}/snapshots`, { labels: { team: 'core' } });
    const context = await browser.context({ colorScheme, reducedMotion: 'reduce' });
    const page = await browser.signedIn(user, context);
    const look = async (where: string): Promise<void> =>
      expect([where, await browser.faultsOf(page)]).toEqual([where, []]);
    for (const [path, heading] of consolePages(db_id)) {
      await page.goto(path);
      await page.getByRole('heading', { name: heading, exact: true }).waitFor();
      await eventually(async () => expect(await page.getByText('Loading…').count()).toBe(0));
      await look(path);
    }
    await page.goto('/');
    await page.getByRole('link', { name: 'New container' }).click();
    await page.getByText('More: labels').click();
    await page.getByRole('radio', { name: 'Custom', exact: true }).check();
    await page.getByLabel('Memory (GB)').fill('much');
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    await page.getByRole('alert').waitFor();
    await look('a creation with faults');
    await page.getByRole('link', { name: 'Cancel' }).click();
    await row(page, 'seen').getByRole('button', { name: 'More for seen' }).click();
    await look('a menu');
    await page.getByRole('menuitem', { name: 'Settings' }).click();
    await page.getByRole('dialog').waitFor();
    await look('the settings');
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('button', { name: 'Continue as guest' }).waitFor();
    await look('the sign-in');
    await context.close();
  });

  it('must fit a phone, on any page', async () => {
    const user = await berth.user('pro', ['read', 'write', 'exec', 'admin']);
    const { db_id } = await user.api.running({ name: 'seen' });
    const context = await browser.context({ viewport: { width: 360, height: 740 } });
    const page = await browser.signedIn(user, context);
    for (const [path, heading] of consolePages(db_id)) {
      await page.goto(path);
      await page.getByRole('heading', { name: heading, exact: true }).waitFor();
      await eventually(async () => expect(await page.getByText('Loading…').count()).toBe(0));
      expect([path, await page.evaluate('document.documentElement.scrollWidth - innerWidth')]).toEqual([path, 0]);
    }
    await context.close();
  });

  it('must let an administrator pull an image, and show that it goes on', async () => {
    engine.daemon.registry.add('debian:13-slim');
    const user = await berth.user('pro', ['read', 'admin']);
    const page = await browser.signedIn(user);
    await page.getByRole('link', { name: 'Images' }).click();
    const debian = page.getByRole('row').filter({ hasText: 'debian:13-slim' });
    await debian.getByText('Not pulled').waitFor();
    const hold = engine.holdOn('images.ensure');
    await debian.getByRole('button', { name: 'Pull now: debian' }).click();
    await debian.getByText('Pulling').waitFor();
    hold.release();
    await page.getByText('“debian” has a new version.').waitFor();
    await debian.getByText('Available').waitFor();
    await debian.getByRole('button', { name: 'Pull now: debian' }).click();
    await page.getByText('“debian” is up to date.').waitFor();
    engine.daemon.registry.delete('debian:13-slim');
    await debian.getByRole('button', { name: 'Pull now: debian' }).click();
    await page.getByText('The image does not exist or needs credentials.').waitFor();
    await page.context().close();
  });

  it('must show each page again to whoever goes back and forth', async () => {
    const { user, page, context } = await somebody();
    await user.api.running({ name: 'seen' });
    await page.getByRole('link', { name: 'seen', exact: true }).click();
    const tabs = page.getByRole('navigation', { name: 'seen' });
    const parts = { Overview: 'Memory of seen', Files: 'Files in /home/user', Terminal: 'Terminals of seen' };
    for (const [name, region] of [...Object.entries(parts), ...Object.entries(parts)]) {
      await tabs.getByRole('link', { name }).click();
      await page.getByRole('region', { name: region }).waitFor();
    }
    const pages = page.getByRole('navigation', { name: 'Pages' });
    for (const name of ['Snapshots', 'Deleted', 'Events', 'Usage', 'Tokens', 'Agents', 'Events', 'Deleted', 'Tokens']) {
      await pages.getByRole('link', { name }).click();
      await page.getByRole('heading', { name, exact: true }).waitFor();
    }
    await context.close();
  });

  it('must sign out who comes with a token that is revoked meanwhile, and say so', async () => {
    const { user, page, context } = await somebody();
    const { body } = await user.api.call('GET', '/api/tokens');
    const session = (body['tokens'] as { id: string; name: string }[]).find(({ name }) => name === 'console');
    await user.api.call('DELETE', `/api/tokens/${String(session?.id)}`);
    await page.getByText('Your session has ended').waitFor();
    await context.close();
  });

  it('must keep two windows of one user in step', async () => {
    const { user, page, context } = await somebody();
    const other = await browser.signedIn(user);
    await user.api.running({ name: 'shared' });
    await row(other, 'shared').getByText('Running').waitFor();
    await row(page, 'shared').getByRole('button', { name: 'Stop shared' }).click();
    await row(other, 'shared').getByText('Stopped').waitFor();
    await row(other, 'shared').getByRole('button', { name: 'More for shared' }).click();
    await other.getByRole('menuitem', { name: 'Settings' }).click();
    await other.getByLabel('Name', { exact: true }).fill('ours');
    await other.getByRole('button', { name: 'Save' }).click();
    await row(page, 'ours').waitFor();
    await other.context().close();
    await context.close();
  });

  it('must say in words what Docker does not do, and show what a failure leaves', async () => {
    const { user, page, context } = await somebody();
    const { db_id } = await user.api.running({ name: 'unlucky' });
    await user.api.stop(db_id);
    await row(page, 'unlucky').getByText('Stopped').waitFor();
    engine.failOn('containers.start', { times: 10 });
    await row(page, 'unlucky').getByRole('button', { name: 'Start unlucky' }).click();
    await page.getByRole('status').getByText('Docker is not responding on the server.').waitFor();
    engine.forget();
    await context.close();
  });

  it('must make one container of a button that is pressed twice, over a slow network', async () => {
    const { page, context, user } = await somebody();
    const network = await context.newCDPSession(page);
    const slow = { offline: false, latency: 400, downloadThroughput: 50_000, uploadThroughput: 50_000 };
    await network.send('Network.emulateNetworkConditions', slow);
    await page.reload();
    await page.getByRole('link', { name: 'Create your first container' }).click();
    await page.getByRole('radio', { name: 'Another image' }).check();
    await page.getByLabel('Image reference').fill(testImage());
    const create = page.getByRole('button', { name: 'Create', exact: true });
    await create.click();
    await create.click({ timeout: 1000 }).catch(() => undefined);
    await page.locator('.page-head').getByText('Running').waitFor();
    expect((await user.api.call('GET', '/api/containers')).body['count']).toBe(1);
    await context.close();
  });

  it('must have been without a complaint of the browser', () => {
    expect(browser.complaints).toEqual([]);
  });
});

describe('the console of other servers', () => {
  let server: Berth;
  let window: ConsoleBrowser;

  let owner: TestUser;

  const open = async (options: Parameters<typeof Berth.start>[0]): Promise<Page> => {
    server = await Berth.start(options);
    window = await ConsoleBrowser.launch(server.url);
    owner = await server.user('enterprise', ['read', 'write', 'exec', 'admin']);
    return window.signedIn(owner);
  };

  afterEach(async () => {
    await window.close();
    await server.stop();
    expect(window.complaints).toEqual([]);
  });

  it('must show what ends by itself and what it may reach, find containers by that, and give new variables', async () => {
    const fake = new FakeEngine();
    const page = await open({ engine: fake, environment: { IDLE_STOP_AFTER: 'enterprise=1h' } });
    await owner.api.running({ name: 'tiers', cpu_shares: 250 });
    const { db_id } = await owner.api.running({ name: 'own', auto_stop_seconds: 300, network: 'none' });
    await row(page, 'tiers')
      .getByText(/stops in (1 h|59 min)/)
      .waitFor();
    await row(page, 'tiers').getByText('0.25 CPU').waitFor();
    await row(page, 'own')
      .getByText(/stops in [45] min/)
      .waitFor();
    const found = async (words: string, count: number): Promise<void> => {
      await page.getByLabel('Filter by name').fill(words);
      await page.getByRole('button', { name: `All ${String(count)}` }).waitFor();
    };
    await found('auto-stop', 2);
    await found('auto-delete', 0);
    await found('network:internet', 1);
    await found('network:none', 1);
    await row(page, 'own').getByRole('button', { name: 'More for own' }).click();
    await page.getByRole('menuitem', { name: 'Settings' }).click();
    await page.getByText('Network, variables').click();
    await page.getByLabel('Name of variable 1').fill('A');
    await page.keyboard.press('Enter');
    await page.keyboard.type('1');
    await page.keyboard.press('Enter');
    await page.keyboard.type('B');
    await page.keyboard.press('Enter');
    await page.keyboard.type('two words');
    const { id } = (await owner.api.get(db_id)).body;
    await page.getByRole('button', { name: 'Save' }).click();
    const environment = new Promise((resolve) => {
      fake.daemon.onExec = ({ env }) => {
        resolve(env);
        return 0;
      };
    });
    await page.getByRole('dialog').waitFor({ state: 'hidden' });
    await owner.api.call('POST', `/api/containers/${db_id}/exec`, { command: ['env'] });
    expect(await environment).toMatchObject({ A: '1', B: 'two words' });
    expect((await owner.api.get(db_id)).body['id']).toBe(id);
  });

  it('must have a container of a cluster moved, and nodes drained, activated, and given up once they are silent', async () => {
    const cluster = new FakeCluster(['node1', 'node2', 'node3']);
    const clock = new MovedClock();
    const environment = { INSTANCE_ID: 'console-nodes', VOLUME_COPY_IMAGE: testImage() };
    const page = await open({ engine: cluster.engine(), clock, environment });
    const node = (name: string) => page.getByRole('row').filter({ hasText: name });
    const choose = async (name: string, action: string): Promise<void> => {
      await node(name)
        .getByRole('button', { name: `More for ${name}` })
        .click();
      await page.getByRole('menuitem', { name: action }).click();
    };
    await owner.api.running({ name: 'traveller' });
    const view = async (): Promise<string> => {
      const { body } = await owner.api.call('GET', '/api/admin/containers');
      return (body['containers'] as { node: string }[])[0]?.node ?? '';
    };
    const before = await view();
    await page.getByRole('link', { name: 'All containers' }).click();
    const { username } = (await owner.api.call('GET', '/api/me')).body['user'] as { username: string };
    await node('traveller').getByText(`user ${username} on ${before}`).waitFor();
    await choose('traveller', 'Move to another node');
    await page.getByRole('dialog').getByRole('button', { name: 'Move' }).click();
    await page.getByText(/“traveller” is on node\d now/).waitFor();
    const after = await view();
    expect(after).not.toBe(before);
    await node('traveller').getByText(`on ${after}`).waitFor();
    await page.getByRole('link', { name: 'Nodes' }).click();
    await node('node1').getByText('the node has 1 GB, overcommit 1,000').waitFor();
    await choose('node2', 'Drain');
    await page.getByRole('dialog').getByRole('button', { name: 'Drain' }).click();
    await node('node2').getByText('Receives no containers').waitFor();
    expect(cluster.named('node2').facts.availability).toBe('drain');
    await choose('node2', 'Activate');
    await node('node2').getByText('Active').waitFor();
    // What others do is followed, before the list is read again by itself.
    const FOLLOWED = { timeout: 15_000 };
    await owner.api.call('POST', '/api/admin/nodes/node1/drain');
    await node('node1').getByText('Receives no containers').waitFor(FOLLOWED);
    cluster.named('node3').cut();
    clock.aheadMs = 60_000;
    await server.app.get(NodeWatch).look();
    await node('node3').getByText('Not responding').waitFor(FOLLOWED);
    expect(await window.faultsOf(page)).toEqual([]);
    await choose('node3', 'Remove for good');
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
    await node('node3').getByText('Removed').waitFor();
  });

  it('must show warm slots with the creations that took one, and remove them', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'berth-warm-'));
    const file = join(folder, 'slots.json');
    writeFileSync(file, JSON.stringify({ slots: [{ image: testImage(), tier: 'enterprise', ...SMALL, count: 2 }] }));
    const slots = new FakeEngine();
    const page = await open({ engine: slots, environment: { WARM_POOL: file } });
    await eventually(() => expect(slots.daemon.running()).toHaveLength(2));
    const taken = await owner.api.running();
    await page.getByRole('link', { name: 'Machine' }).click();
    const table = page.getByRole('region', { name: 'Warm slots' });
    await table.getByRole('row').filter({ hasText: testImage() }).getByText('256 MB').waitFor();
    await table.getByText('Creations from a slot: 1; without one: 0.').waitFor();
    // One that is still being made is not removed.
    await eventually(async () => {
      const { body } = await owner.api.call('GET', '/api/admin/warm');
      expect(body['slots']).toMatchObject([{ ready: 2, making: 0 }]);
    });
    const before = slots.daemon.running().map(({ engineId }) => engineId);
    await table.getByRole('button', { name: 'Empty' }).click();
    await eventually(() => {
      const now = slots.daemon.running().map(({ engineId }) => engineId);
      expect(now.filter((id) => before.includes(id))).toEqual([taken.id]);
    });
    expect(await window.faultsOf(page)).toEqual([]);
    rmSync(folder, { recursive: true });
  });

  it('must say on every page, before the sign-in too, that containers are only simulated', async () => {
    const page = await open({ environment: { ENGINE: 'simulated' } });
    const banner = page.getByText('This server has no Docker. Its containers are simulated');
    await banner.waitFor();
    await page.getByRole('link', { name: 'Machine' }).click();
    // The page without it, while its script is loaded, has the banner too.
    await page.getByRole('heading', { name: 'Machine', exact: true }).waitFor();
    await banner.waitFor();
    expect(await window.faultsOf(page)).toEqual([]);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('button', { name: 'Continue as guest' }).waitFor();
    await banner.waitFor();
    expect(await window.faultsOf(page)).toEqual([]);
  });
});

/** As far ahead as a test says. */
class MovedClock extends Clock {
  aheadMs = 0;

  override now(): Date {
    return new Date(super.now().getTime() + this.aheadMs);
  }
}

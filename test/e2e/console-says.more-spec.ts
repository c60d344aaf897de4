import type { Page } from 'playwright-core';
import { Berth, type TestUser } from '../support/servers/berth';
import { ConsoleBrowser } from '../support/clients/console-browser';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';

jest.setTimeout(240_000);

let engine: FakeEngine;
let berth: Berth;
let browser: ConsoleBrowser;

beforeAll(async () => {
  engine = new FakeEngine();
  berth = await Berth.start({ engine });
  browser = await ConsoleBrowser.launch(berth.url);
});

afterAll(async () => {
  await browser.close();
  await berth.stop();
});

const open = async (user: TestUser): Promise<Page> => browser.signedIn(user, await browser.context());

const click = (page: Page, name: string): Promise<void> => page.getByRole('button', { name, exact: true }).click();

const nameOf = async ({ api }: TestUser): Promise<string> =>
  ((await api.call('GET', '/api/me')).body['user'] as { username: string }).username;

describe('a change of a tier', () => {
  let admin: TestUser;
  let other: TestUser;
  let page: Page;
  let name: string;

  beforeAll(async () => {
    [admin, other] = [await berth.user('pro', ['read', 'admin']), await berth.user('free')];
    name = await nameOf(other);
    page = await open(admin);
    await page.getByRole('link', { name: 'Users' }).click();
    await page.getByLabel('Search by name').fill(name);
  });
  afterAll(() => page.context().close());

  const tierOf = async (): Promise<unknown> => (await other.api.call('GET', '/api/me')).body['tier'];
  const shown = (): Promise<string> => page.getByLabel(`Tier of ${name}`).inputValue();

  it('must be asked about, with both tiers, and be none where it is not confirmed', async () => {
    await page.getByLabel(`Tier of ${name}`).selectOption('enterprise');
    const dialog = page.getByRole('dialog');
    await dialog.getByText('From “free” to “enterprise”').waitFor();
    expect(await browser.faultsOf(page)).toEqual([]);
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    await eventually(async () => expect(await shown()).toBe('free'));
    expect(await tierOf()).toBe('free');
  });

  it('must be taken back by one click', async () => {
    await page.getByLabel(`Tier of ${name}`).selectOption('enterprise');
    await page.getByRole('dialog').getByRole('button', { name: 'Change' }).click();
    await page.getByText(`“${name}” is now on the tier “enterprise”.`).waitFor();
    expect(await tierOf()).toBe('enterprise');
    await eventually(async () => expect(await shown()).toBe('enterprise'));
    await click(page, 'Undo');
    await eventually(async () => expect(await shown()).toBe('free'));
    expect(await tierOf()).toBe('free');
  });
});

describe('a disk limit', () => {
  it.each(['unsupported', 'enforced'] as const)(
    'is said where it is set and on the machine, and in no row: %s',
    async (diskQuota) => {
      const fake = new FakeEngine();
      fake.daemon.capabilities = { ...fake.daemon.capabilities, diskQuota };
      const server = await Berth.start({ engine: fake });
      const window = await ConsoleBrowser.launch(server.url);
      const user = await server.user('pro', ['read', 'write', 'exec', 'admin']);
      const { db_id } = await user.api.running({ name: 'stored' });
      await user.api.delete((await user.api.running({ name: 'gone' })).db_id);
      const page = await window.signedIn(user);
      const count = (): Promise<number> => page.getByText('not enforced').count();
      for (const [path, text] of [
        ['/', 'stored'],
        [`/containers/${db_id}#overview`, 'at /home/user'],
        ['/usage', 'Maximum per container'],
        ['/deleted', 'gone'],
        ['/admin/containers', 'stored'],
      ] as const) {
        await page.goto(path);
        await page.getByText(text, { exact: false }).first().waitFor();
        expect([path, await count()]).toEqual([path, 0]);
      }
      const expected = diskQuota === 'unsupported' ? 1 : 0;
      await page.goto('/admin/machine');
      await page.getByText('Disk sizes are limits').waitFor();
      await eventually(async () => expect(await count()).toBe(expected));
      await page.goto(`/containers/${db_id}#overview`);
      await page.getByRole('button', { name: 'Settings' }).click();
      const disk = page.getByLabel('Disk (GB)');
      const hint = `#${String(await disk.getAttribute('aria-describedby'))}`;
      await eventually(async () =>
        expect((await page.locator(hint).innerText()).includes('not enforced')).toBe(expected === 1),
      );
      expect(await count()).toBe(expected);
      await window.close();
      await server.stop();
      expect(window.complaints).toEqual([]);
    },
  );
});

it('a creation must be offered what the API takes for what is left out', async () => {
  const user = await berth.user('pro');
  const page = await open(user);
  await page.goto('/new');
  await page.getByRole('radio', { name: 'Custom', exact: true }).check();
  const { limits } = (await user.api.call('GET', '/api/me')).body as { limits: { default: Record<string, number> } };
  const offered = {
    memory_mb: Number(await page.getByLabel('Memory (GB)').inputValue()) * 1024,
    cpu_shares: Number(await page.getByLabel('CPUs').inputValue()) * 1000,
    disk_mb: Number(await page.getByLabel('Disk (GB)').inputValue()) * 1024,
  };
  expect(offered).toEqual(limits.default);
  await page.context().close();
});

describe('a token that is made in the console', () => {
  let user: TestUser;
  let page: Page;

  beforeEach(async () => {
    user = await berth.user();
    page = await open(user);
    await page.getByRole('link', { name: 'Tokens' }).click();
  });
  afterEach(() => page.context().close());

  const live = async (): Promise<string[]> => {
    const { body } = await user.api.call('GET', '/api/tokens');
    return (body['tokens'] as { name: string }[]).map((token) => token.name).sort();
  };

  async function make(name: string): Promise<void> {
    await click(page, 'New token');
    await page.getByLabel('Name', { exact: true }).fill(name);
    await page.getByRole('dialog').getByText('stays valid after you sign out').waitFor();
    await click(page, 'Create');
    await click(page, 'Done');
  }

  it('must be said to go on after the sign-out, with its end', async () => {
    await make('laptop');
    await click(page, 'Sign out');
    const dialog = page.getByRole('dialog');
    await dialog.getByText('laptop').waitFor();
    expect(await browser.faultsOf(page)).toEqual([]);
    await dialog.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('button', { name: 'Continue as guest' }).waitFor();
    expect(await live()).toEqual(['laptop', 'test']);
  });

  it("has the form of E2B's keys if it is for E2B's SDKs, and tells where to send it", async () => {
    await click(page, 'New token');
    await page.getByLabel('Name', { exact: true }).fill('agent');
    await page.getByLabel('Used by').selectOption({ label: 'E2B SDKs' });
    await click(page, 'Create');
    await page.getByText(`E2B_SANDBOX_URL to ${berth.url}/e2b`).waitFor();
    expect(await page.getByRole('dialog').textContent()).toMatch(/e2b_[0-9a-f]{40}/);
    await click(page, 'Done');
    expect(await live()).toEqual(['agent', 'console', 'test']);
  });

  it('is for one container and its forks if that is chosen', async () => {
    const { body } = await user.api.create({ name: 'workbench' });
    await page.reload();
    await click(page, 'New token');
    await page.getByLabel('Name', { exact: true }).fill('agent');
    await page.getByLabel('Access').selectOption({ label: 'Only workbench' });
    await page.getByLabel('May fork the container').check();
    expect(await browser.faultsOf(page)).toEqual([]);
    await click(page, 'Create');
    await click(page, 'Done');
    await page.getByRole('row', { name: 'agent' }).getByText('only workbench and forks').waitFor();
    const { tokens } = (await user.api.call('GET', '/api/tokens')).body as { tokens: { container: unknown }[] };
    expect(tokens.at(-1)?.container).toEqual({ id: body['db_id'], forks: true });
  });

  it('must end with the session if that is wanted, from another tab too', async () => {
    await make('ci');
    const second = await page.context().newPage();
    await second.goto('/usage');
    await second.getByRole('button', { name: 'Sign out' }).click();
    await second.getByLabel('Revoke').check();
    await second.getByRole('dialog').getByRole('button', { name: 'Sign out' }).click();
    await second.getByRole('button', { name: 'Continue as guest' }).waitFor();
    await page.getByText('You signed out in another tab.').waitFor();
    expect(await live()).toEqual(['test']);
  });

  it('must not be asked about where there is none', async () => {
    await make('gone');
    await click(page, 'Revoke gone');
    await click(page, 'Revoke');
    await eventually(async () => expect(await live()).toEqual(['console', 'test']));
    await click(page, 'Sign out');
    await page.getByRole('button', { name: 'Continue as guest' }).waitFor();
    expect(await live()).toEqual(['test']);
  });
});

it('must have been without a complaint of the browser', () => {
  expect(browser.complaints).toEqual([]);
});

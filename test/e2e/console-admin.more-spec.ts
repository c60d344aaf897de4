import { readFileSync } from 'node:fs';
import type { Locator, Page } from 'playwright-core';
import { testImage } from '../support/clients/api-client';
import { ConsoleBrowser } from '../support/clients/console-browser';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';
import { Berth, type NewUser } from '../support/servers/berth';

jest.setTimeout(240_000);

let berth: Berth;
let browser: ConsoleBrowser;
let admin: NewUser;
let user: NewUser;
let page: Page;

beforeAll(async () => {
  berth = await Berth.start({ engine: new FakeEngine(), environment: { VOLUME_COPY_IMAGE: testImage() } });
  browser = await ConsoleBrowser.launch(berth.url);
  admin = await berth.user('pro', ['read', 'write', 'exec', 'admin']);
});

afterAll(async () => {
  await browser.close();
  await berth.stop();
});

beforeEach(async () => {
  user = await berth.user('free');
  page = await browser.signedIn(admin, await browser.context({ reducedMotion: 'reduce' }));
});

afterEach(() => page.context().close());

const click = (name: string): Promise<void> => page.getByRole('button', { name, exact: true }).click();
const dialog = (): Locator => page.getByRole('dialog');
const row = (name: string): Locator => page.getByRole('row').filter({ hasText: name });

const open = async (path: string, heading: string): Promise<void> => {
  await page.goto(path);
  await page.getByRole('heading', { name: heading, exact: true }).waitFor();
};

const choose = async (name: string, item: string): Promise<void> => {
  await click(`More for ${name}`);
  await page.getByRole('menuitem', { name: item, exact: true }).click();
};

describe('users', () => {
  it('must be created with a link that signs them in, and a token, each shown once', async () => {
    await open('/admin/users', 'Users');
    await click('New user');
    await dialog().getByLabel('Name').fill('no spaces');
    await dialog().getByRole('button', { name: 'Create' }).click();
    await dialog().getByText('must be 1 to 64 of letters').first().waitFor();
    await dialog().getByLabel('Name').fill('grace');
    await dialog().getByLabel('Tier').selectOption('pro');
    await dialog().getByLabel('exec').uncheck();
    expect(await browser.faultsOf(page)).toEqual([]);
    await dialog().getByRole('button', { name: 'Create' }).click();
    await dialog().getByText('The link and the token are shown only once.').waitFor();
    expect(await browser.faultsOf(page)).toEqual([]);
    const secret = (of: string): Promise<string> =>
      dialog().getByRole('region', { name: of }).locator('code').innerText();
    const token = await secret('Token');
    const link = await secret('Sign-in link');
    await dialog().getByRole('button', { name: 'Done' }).click();
    await row('grace').getByLabel('Tier of grace').waitFor();
    expect(new URL(page.url()).search).toBe('');
    const me = (await berth.as({ ...user, token }).api.call('GET', '/api/me')).body;
    expect(me).toMatchObject({ user: { username: 'grace' }, tier: 'pro', scopes: ['read', 'write'] });
    const context = await browser.context();
    const other = await context.newPage();
    await other.goto(link);
    await other.getByText('grace', { exact: true }).waitFor();
    await context.close();
  });

  it('must be found by a part of their name, and suspended and let in again by Undo', async () => {
    await user.api.running({ name: 'theirs' });
    await open('/admin/users', 'Users');
    await page.getByLabel('Search by name').fill(user.username.slice(2).toUpperCase());
    await eventually(async () => expect(await page.locator('tbody tr').count()).toBe(1));
    await choose(user.username, 'Suspend');
    await dialog().getByText('1 running container will be stopped').waitFor();
    await dialog().getByRole('button', { name: 'Suspend' }).click();
    await row(user.username).getByText('Suspended').waitFor();
    expect((await user.api.call('GET', '/api/me')).status).toBe(403);
    await click('Undo');
    await row(user.username).getByText('Active').waitFor();
    expect((await user.api.call('GET', '/api/me')).status).toBe(200);
    // The search is in the address.
    await page.reload();
    await eventually(async () => expect(await page.locator('tbody tr').count()).toBe(1));
  });

  it('must be told what a tier changes, and have the tier of before again by Undo', async () => {
    for (const name of ['one', 'two']) await user.api.running({ name });
    await open(`/admin/users?search=${user.username}`, 'Users');
    await page.getByLabel(`Tier of ${user.username}`).selectOption('guest');
    await dialog().getByText('From “free” to “guest”.').waitFor();
    await dialog().getByText('The user has 2 containers, and “guest” allows 1.').waitFor();
    await dialog().getByRole('button', { name: 'Change tier' }).click();
    await row(user.username).getByText('Guest, session ends').waitFor();
    await click('Undo');
    await row(user.username).getByText('Active').waitFor();
    expect((await user.api.call('GET', '/api/me')).body).toMatchObject({ tier: 'free', session: null });
  });
});

describe('the containers of all users', () => {
  it('must be found on the server, and started, stopped and deleted alone and together', async () => {
    for (const name of ['web-one', 'web-two', 'other']) await user.api.running({ name });
    await open('/admin/containers', 'All containers');
    await page.getByLabel('Search by name, user, image or node').fill(user.username);
    await eventually(async () => expect(await page.locator('tbody tr').count()).toBe(3));
    await page.getByLabel('Search by name, user, image or node').fill('web-');
    await eventually(async () => expect(await page.locator('tbody tr').count()).toBe(2));
    expect(new URL(page.url()).search).toBe('?search=web-');
    await click('Stop web-one');
    await dialog().getByText('All programs in it end. The data is kept.').waitFor();
    await dialog().getByRole('button', { name: 'Stop' }).click();
    await row('web-one').getByText('Stopped').waitFor();
    await click('Start web-one');
    await row('web-one').getByText('Running').waitFor();
    await page.getByLabel('Select all').check();
    expect(await browser.faultsOf(page)).toEqual([]);
    await click('Stop 2');
    await dialog().getByRole('button', { name: 'Stop' }).click();
    await page.getByText('2 containers stopped.').waitFor();
    await eventually(async () => expect(await page.getByText('Stopped', { exact: true }).count()).toBeGreaterThan(1));
    await page.getByLabel('Select web-two').check();
    await page.getByRole('group', { name: 'Selection' }).getByRole('button', { name: 'Delete' }).click();
    await dialog().getByText('its user can restore it').waitFor();
    await dialog().getByRole('button', { name: 'Delete' }).click();
    await row('web-two').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Deleted', exact: true }).click();
    await row('web-two').waitFor();
  });
});

describe('the audit', () => {
  it('must be filtered in its address, and exported as it is filtered', async () => {
    const { db_id } = await user.api.running({ name: 'audited' });
    await user.api.stop(db_id);
    await user.api.call('DELETE', `/api/tokens/${admin.tokenId}`);
    await open('/admin/audit', 'Audit');
    await page.getByLabel('User', { exact: true }).fill(user.username);
    await eventually(async () => expect(await page.locator('tbody tr').count()).toBe(3));
    await page.getByLabel('Outcome').selectOption('Failed or refused');
    await eventually(async () => expect(await page.locator('tbody tr').count()).toBe(1));
    await row('token.revoke').getByText('token not found').waitFor();
    await page.getByLabel('Outcome').selectOption('All outcomes');
    await page.getByLabel('Action', { exact: true }).fill('container');
    await eventually(async () => expect(await page.locator('tbody tr').count()).toBe(2));
    expect(new URL(page.url()).search).toBe(`?user=${user.username}&action=container`);
    expect(await browser.faultsOf(page)).toEqual([]);
    const downloading = page.waitForEvent('download');
    await click('Export CSV');
    const download = await downloading;
    expect(download.suggestedFilename()).toMatch(/^berth-audit-\d{4}-\d\d-\d\d\.csv$/);
    const lines = readFileSync(await download.path(), 'utf8')
      .replace('\uFEFF', '')
      .trimEnd()
      .split('\r\n');
    expect(lines).toHaveLength(3);
    expect(lines[0]?.startsWith('at,finished_at,action,outcome,user,')).toBe(true);
    expect(lines[1]).toContain(`,container.stop,ok,${user.username},${user.id},`);
    expect(lines[2]).toContain(`,container.create,ok,${user.username},${user.id},`);
    await page.getByText('2 entries exported.').waitFor();
    await page.reload();
    await eventually(async () => expect(await page.locator('tbody tr').count()).toBe(2));
    expect(await page.getByLabel('User', { exact: true }).inputValue()).toBe(user.username);
    await page.getByLabel('Container', { exact: true }).fill('audited');
    await page.getByLabel('From').fill('2001-01-01T00:00');
    await page.getByLabel('Until').fill('2001-01-02T00:00');
    await page.getByText('No matching entries').waitFor();
    await page.getByLabel('User', { exact: true }).fill('nobody-of-this-name');
    await page.getByRole('alert').getByText('There is no user “nobody-of-this-name”.').waitFor();
    await click('Clear filters');
    await row('token.revoke').first().waitFor();
    expect(new URL(page.url()).search).toBe('');
  });
});

it('the page of the machine must explain its numbers, and show the last day', async () => {
  await open('/admin/machine', 'Machine');
  for (const what of ['Memory', 'CPU', 'Running containers']) {
    await page
      .getByRole('region', { name: `${what} of the machine`, exact: true })
      .getByRole('img')
      .waitFor();
  }
  const memory = page.getByRole('group', { name: 'Memory', exact: true });
  await memory.getByText('reserved;').waitFor();
  // A container that started after the last sample is in both figures.
  await user.api.running();
  await page.reload();
  const reserved = await memory.locator('.big').innerText();
  expect(reserved).not.toBe('0 MB');
  const chart = page.getByRole('region', { name: 'Memory of the machine', exact: true });
  await chart.getByText(`Reserved ${reserved}`).waitFor();
  await page.getByText('Disk sizes are limits').waitFor();
  const idle = page.getByRole('group', { name: 'Idle sandboxes', exact: true });
  await idle.getByText('idle for 10 minutes').waitFor();
  await idle.getByText('The cost of an idle sandbox was not measured.').waitFor();
  expect(await browser.faultsOf(page)).toEqual([]);
});

describe('the keyboard', () => {
  const input = (): Locator => page.getByRole('combobox', { name: 'Search pages, containers and actions' });
  const options = (): Locator => page.getByRole('listbox', { name: 'Results' }).getByRole('option');
  const option = (): Locator => page.getByRole('listbox', { name: 'Results' }).getByRole('option', { selected: true });
  const palette = async (): Promise<void> => {
    await page.keyboard.press('Control+k');
    await input().waitFor();
  };

  it('must open the command palette, lead to pages and containers, and give the focus back', async () => {
    const { db_id } = await admin.api.running({ name: 'palette-web' });
    await page.getByRole('link', { name: 'palette-web', exact: true }).waitFor();
    await page.getByRole('link', { name: 'Usage' }).focus();
    await palette();
    expect(await browser.faultsOf(page)).toEqual([]);
    await page.keyboard.press('Escape');
    await input().waitFor({ state: 'detached' });
    await eventually(async () => expect(await page.evaluate('document.activeElement.textContent')).toBe('Usage'));

    await palette();
    await page.keyboard.type('audt');
    await eventually(async () => expect(await option().innerText()).toContain('Audit'));
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Audit', exact: true }).waitFor();

    await palette();
    await page.keyboard.type('pal');
    await eventually(async () => expect(await option().innerText()).toContain('palette-web'));
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'palette-web', exact: true }).waitFor();

    // Its page opens with a terminal, where Ctrl K belongs to the shell.
    const paletteByButton = async (): Promise<void> => {
      await page.getByRole('button', { name: 'Search…' }).click();
      await input().waitFor();
    };
    await paletteByButton();
    await page.keyboard.type('stop palette');
    await eventually(async () => expect(await option().innerText()).toContain('palette-web: Stop'));
    await page.keyboard.press('Enter');
    await dialog().getByText('Stop “palette-web”?').waitFor();
    await dialog().getByRole('button', { name: 'Stop' }).click();
    await eventually(async () => expect((await admin.api.get(db_id)).body).toMatchObject({ status: 'stopped' }));

    await paletteByButton();
    await page.keyboard.type('zzzz qqqq');
    await eventually(async () => expect(await options().count()).toBe(2));
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Users', exact: true }).waitFor();
    expect(await page.getByLabel('Search by name').inputValue()).toBe('zzzz qqqq');
  });

  it('must leave Ctrl K to a focused terminal, and nothing of an administrator to others', async () => {
    // A field as xterm.js has it: the terminal itself needs a container with a shell.
    await page.evaluate(`document.getElementById('main').insertAdjacentHTML('beforeend',
      '<div class="xterm"><textarea id="typed" aria-label="Terminal"></textarea></div>')`);
    await page.locator('#typed').focus();
    await page.keyboard.press('Control+k');
    await page.locator('#typed').blur();
    await palette();
    expect(await page.getByRole('dialog').count()).toBe(1);
    await page.keyboard.press('Control+k');
    await input().waitFor({ state: 'detached' });
    const own = await browser.signedIn(user, await browser.context());
    await own.getByRole('button', { name: 'Search…' }).click();
    await own.getByRole('combobox').fill('audit');
    await own.getByText('No results for “audit”.').waitFor();
    await own.context().close();
  });

  it('must list the shortcuts with ?, but not while somebody types, and go to the search with /', async () => {
    await open('/admin/users', 'Users');
    await page.getByLabel('Search by name').waitFor();
    await page.keyboard.press('/');
    await page.keyboard.type('?');
    expect(await page.getByLabel('Search by name').inputValue()).toBe('?');
    expect(await dialog().count()).toBe(0);
    await page.getByRole('heading', { name: 'Users', exact: true }).focus();
    await page.keyboard.press('?');
    await dialog().getByText('Search pages, containers and actions').waitFor();
    expect(await browser.faultsOf(page)).toEqual([]);
    await page.keyboard.press('Escape');
    await dialog().waitFor({ state: 'detached' });
  });

  it('must not be needed: the palette opens by a button too, at 360 px of width', async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    await click('Search…');
    await input().fill('all containers');
    await options().first().click();
    await page.getByRole('heading', { name: 'All containers', exact: true }).waitFor();
    for (const path of ['/admin/users?new=true', '/admin/audit', '/admin/machine', '/admin/containers']) {
      await page.goto(path);
      await page.getByRole('heading', { level: 1 }).waitFor();
      await eventually(async () => expect(await page.getByText('Loading…').count()).toBe(0));
      const width = await page.evaluate('document.documentElement.scrollWidth');
      expect([path, width]).toEqual([path, 360]);
    }
  });
});

it('must have been without a complaint of the browser', () => {
  expect(browser.complaints).toEqual([]);
});

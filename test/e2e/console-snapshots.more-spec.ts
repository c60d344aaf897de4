import type { Locator, Page } from 'playwright-core';
import { testImage } from '../support/clients/api-client';
import { ConsoleBrowser } from '../support/clients/console-browser';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';
import { Berth, type NewUser } from '../support/servers/berth';

jest.setTimeout(240_000);

const MIB = 2 ** 20;

let engine: FakeEngine;
let berth: Berth;
let browser: ConsoleBrowser;
let user: NewUser;
let page: Page;
let id: string;

beforeAll(async () => {
  engine = new FakeEngine();
  berth = await Berth.start({ engine, environment: { VOLUME_COPY_IMAGE: testImage() } });
  browser = await ConsoleBrowser.launch(berth.url);
});

afterAll(async () => {
  await browser.close();
  await berth.stop();
});

beforeEach(async () => {
  user = await berth.user('free');
  id = (await user.api.running({ name: 'origin' })).db_id;
  engine.daemon.write(`berth-${id}`, 'precious', 10 * MIB);
  page = await browser.signedIn(user, await browser.context({ reducedMotion: 'reduce' }));
});

afterEach(async () => {
  engine.forget();
  engine.daemon.keepsLayers = true;
  await page.context().close();
});

const click = (name: string): Promise<void> => page.getByRole('button', { name, exact: true }).click();
const dialog = (): Locator => page.getByRole('dialog');
const row = (name: string): Locator => page.getByRole('row').filter({ hasText: name });
const says = (text: string): Promise<void> => page.getByText(text).first().waitFor();

async function choose(menu: string, item: string): Promise<void> {
  await click(`More for ${menu}`);
  await page.getByRole('menuitem', { name: item, exact: true }).click();
}

/** Makes a snapshot through the API. @returns its id */
async function taken(name: string, body: object = {}): Promise<string> {
  const made = await user.api.call('POST', `/api/containers/${id}/snapshots`, { name, ...body });
  const snapshot = String(made.body['id']);
  expect(await user.api.call('GET', `/api/snapshots/${snapshot}/wait`)).toMatchObject({ status: 200 });
  return snapshot;
}

/** Axe's findings in both themes, and whether the page is wider than the window at 360 px. */
async function look(): Promise<unknown[]> {
  const found: unknown[] = [];
  for (const colorScheme of ['dark', 'light'] as const) {
    await page.emulateMedia({ colorScheme });
    // The new colours are computed in the next frame.
    await page.evaluate('new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))');
    found.push(...(await browser.faultsOf(page)));
  }
  const before = page.viewportSize() ?? { width: 1280, height: 720 };
  await page.setViewportSize({ width: 360, height: 740 });
  if ((await page.evaluate('document.documentElement.scrollWidth - innerWidth')) !== 0) found.push('too wide');
  await page.setViewportSize(before);
  return found;
}

describe("a container's page", () => {
  beforeEach(async () => {
    await page.getByRole('link', { name: 'origin', exact: true }).click();
    await page.getByRole('navigation', { name: 'origin' }).getByRole('link', { name: 'Snapshots' }).click();
    await says('No snapshots of this container');
  });

  it('must take a snapshot, and show its progress, its contents and its size', async () => {
    const hold = engine.holdOn('volumes.copy', { call: 2 });
    await click('New snapshot');
    await dialog().getByText('It does not include memory or running programs.').waitFor();
    expect(await look()).toEqual([]);
    await dialog().getByLabel('Name').fill('first');
    await dialog().getByLabel('Description').fill('with nginx');
    await click('Take snapshot');
    await row('first').getByText('Creating').waitFor();
    await row('first').getByText('copying the data').waitFor();
    expect(await look()).toEqual([]);
    hold.release();
    await row('first').getByText('Ready').waitFor();
    await row('first').getByText('Data and installed software').waitFor();
    await row('first').getByText('10 MB').waitFor();
    await row('first').getByText('with nginx').waitFor();
    expect(await look()).toEqual([]);
    await page.getByRole('link', { name: 'Events' }).last().click();
    await says('Snapshot ready');
    await says('“first”');
  });

  it('must say that a snapshot has the data only where the machine keeps no more', async () => {
    engine.daemon.keepsLayers = false;
    await taken('small');
    await row('small').getByText('Data only').waitFor();
    await click('Restore: small');
    await dialog().getByText('All other files come from the image.').waitFor();
  });

  it("must say what a field is refused for, why a snapshot failed, and what the tier's limit is", async () => {
    await click('New snapshot');
    await dialog().getByLabel('Name').fill('a b');
    await click('Take snapshot');
    await dialog().getByRole('alert').getByText('Name: 1 to 64 of A-Z').waitFor();
    await dialog().getByLabel('Name').fill('broken');
    engine.failOn('volumes.copy', { times: 20 });
    await click('Take snapshot');
    await row('broken').getByText('Failed').waitFor();
    await row('broken').getByText('Docker does not respond').waitFor();
    expect(await row('broken').getByRole('button', { name: 'Restore: broken' }).count()).toBe(0);
    engine.forget();
    for (const name of ['a', 'b', 'c', 'd', 'e']) await taken(name);
    await click('New snapshot');
    await click('Take snapshot');
    await dialog().getByRole('alert').getByText('Your tier “free” allows 5 snapshots').waitFor();
  });

  it('must return the container to a snapshot, and keep the state before unless told otherwise', async () => {
    await taken('first');
    engine.daemon.write(`berth-${id}`, 'newer', 20 * MIB);
    await click('Restore: first');
    await dialog().getByText('Its programs end, and it starts again.').waitFor();
    expect(await look()).toEqual([]);
    await dialog().getByRole('button', { name: 'Restore' }).click();
    await says('“origin” was restored to “first”. Its previous state is now a snapshot.');
    await row('20 MB').getByText('Ready').waitFor();
    const names = async (): Promise<number> => page.locator('tr[data-id]').count();
    expect(await names()).toBe(2);
    await click('Restore: first');
    await dialog().getByLabel('Keep the current state').uncheck();
    await dialog().getByText('will be permanently deleted').waitFor();
    expect(await look()).toEqual([]);
    await dialog().getByRole('button', { name: 'Restore' }).click();
    await dialog().waitFor({ state: 'detached' });
    expect(await names()).toBe(2);
    const { volumes } = engine.daemon;
    await eventually(() => expect([...volumes.values()].filter(({ content }) => content === 'newer')).toHaveLength(1));
  });

  it('must show why a snapshot cannot be restored', async () => {
    await taken('first');
    await click('Restore: first');
    engine.failOn('containers.create', { times: 20 });
    await dialog().getByRole('button', { name: 'Restore' }).click();
    await dialog().getByRole('alert').getByText('Docker is not responding on the server.').waitFor();
  });

  it('must make copies of the container', async () => {
    await choose('origin', 'Fork');
    await dialog().getByText('Memory and running programs are not copied.').waitFor();
    expect(await look()).toEqual([]);
    await dialog().getByLabel('Copies').fill('11');
    await dialog().getByRole('button', { name: 'Fork' }).click();
    await dialog().getByRole('alert').getByText('Copies must be a whole number from 1 to 10').waitFor();
    await dialog().getByLabel('Copies').fill('2');
    await dialog().getByLabel('Name').fill('twin');
    await dialog().getByRole('button', { name: 'Fork' }).click();
    await says('2 copies are being created from “origin”.');
    await click('Show');
    await row('twin-1').getByText('Running').waitFor();
    await row('twin-2').getByText('Running').waitFor();
  });

  it.each([true, false])('must say after a resize whether installed software is kept: %s', async (isKept) => {
    engine.daemon.keepsLayers = isKept;
    for (const container of engine.daemon.containers.values()) container.layer = 'nginx';
    await click('Settings');
    await dialog().getByLabel('Memory').fill('512 MB');
    await dialog().getByText('The container is recreated and restarted, which ends its programs.').waitFor();
    expect(await look()).toEqual([]);
    await click('Save');
    await says(isKept ? 'is still there' : 'Only /home/user was kept');
    await page.getByRole('navigation', { name: 'origin' }).getByRole('link', { name: 'Events' }).click();
    await says(isKept ? 'installed software kept' : 'only /home/user kept');
  });
});

describe('the page of snapshots', () => {
  const open = async (): Promise<void> => {
    await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Snapshots' }).click();
    await page.getByRole('heading', { name: 'Snapshots', exact: true }).waitFor();
  };

  it('must list, filter, rename and delete snapshots, also those of deleted containers', async () => {
    await open();
    await says('No snapshots yet');
    await taken('one', { labels: { team: 'core' } });
    await taken('two', { description: 'before the upgrade' });
    await row('two').getByRole('link', { name: 'origin' }).waitFor();
    await says('2 of 5, 20 MB of ');
    await page.getByLabel('Filter by name').fill('team:core');
    await row('two').waitFor({ state: 'detached' });
    await row('one').waitFor();
    await page.getByLabel('Filter by name').fill('nothing');
    await says('No snapshots match the filter');
    await click('Clear filter');
    await choose('snapshot one', 'Edit');
    expect(await look()).toEqual([]);
    await dialog().getByLabel('Name').fill('renamed');
    await dialog().getByLabel('Description').fill('of Monday');
    await click('Save');
    await row('renamed').getByText('of Monday').waitFor();
    await user.api.delete(id);
    await row('renamed').getByText('a deleted container').waitFor();
    expect(await look()).toEqual([]);
    await choose('snapshot renamed', 'Delete');
    await dialog().getByText('Containers created from it are not affected.').waitFor();
    await dialog().getByRole('button', { name: 'Delete' }).click();
    await row('renamed').waitFor({ state: 'detached' });
    await says('1 of 5');
  });

  it('must create a container from a snapshot, with its disk size and role', async () => {
    id = (await user.api.running({ name: 'large', disk_mb: 3072 })).db_id;
    engine.daemon.write(`berth-${id}`, 'precious', 10 * MIB);
    await taken('base');
    await open();
    await click('New container: base');
    expect(await page.getByRole('radio', { name: 'base', exact: true }).isChecked()).toBe(true);
    expect(await page.getByLabel('Disk (GB)').inputValue()).toBe('3');
    await page.getByText('More: labels').click();
    expect(await page.getByLabel('Role').locator('option:checked').innerText()).toContain('As in the snapshot');
    await says('Data and installed software of “large”, 10 MB');
    expect(await look()).toEqual([]);
    await page.getByLabel('Name', { exact: true }).fill('copy');
    await click('Create');
    await page.getByRole('heading', { name: 'copy' }).waitFor();
    await page.locator('.page-head').getByText('Running').waitFor();
    const copy = new URL(page.url()).pathname.split('/').at(-1) ?? '';
    expect(engine.daemon.volumes.get(`berth-${copy}`)?.content).toBe('precious');
  });

  it('must offer ready snapshots in the form of a creation, and go back to an image', async () => {
    await taken('base');
    await page.goto('/new');
    const radio = (name: string): Locator => page.getByRole('radio', { name, exact: true });
    await radio('base').check();
    await page.getByText('As in the snapshot').waitFor({ state: 'attached' });
    await radio('Another image').check();
    await page.getByText('More: labels').click();
    expect(await page.getByLabel('Role').locator('option:checked').innerText()).toBe('barebone');
    await radio('base').check();
    await page.getByLabel('Name', { exact: true }).fill('copy');
    await click('Create');
    await page.locator('.page-head').getByText('Running').waitFor();
    const { body } = await user.api.call('GET', '/api/containers');
    const copy = (body['containers'] as { name: string; db_id: string }[]).find(({ name }) => name === 'copy');
    expect(engine.daemon.volumes.get(`berth-${String(copy?.db_id)}`)?.content).toBe('precious');
  });

  it('must say that guests have none, and offer them no snapshot', async () => {
    const guest = await berth.user('guest');
    await guest.api.running({ name: 'only' });
    const other = await browser.signedIn(guest);
    await other.getByRole('button', { name: 'More for only' }).click();
    expect(await other.getByRole('menuitem', { name: 'New snapshot' }).count()).toBe(0);
    await other.keyboard.press('Escape');
    await other.getByRole('link', { name: 'Snapshots' }).click();
    await other.getByText('Your tier “guest” does not include snapshots.').waitFor();
    await other.context().close();
  });
});

it('says of a snapshot that was taken just now that it was', async () => {
  const fresh = await page.context().newPage();
  // The time of the page stands still, as it does between two of its ticks.
  await fresh.addInitScript('setInterval = () => 0');
  await fresh.goto('/snapshots');
  await fresh.getByRole('heading', { name: 'Snapshots', exact: true }).waitFor();
  // The page's policy forbids `waitForFunction`, which compiles a text.
  await eventually(async () => expect(await fresh.evaluate('performance.now()')).toBeGreaterThan(6_000));
  await taken('fresh');
  await fresh.getByRole('row').filter({ hasText: 'fresh' }).getByText('just now').waitFor();
});

it('administrators must see and delete the snapshots of all users', async () => {
  const snapshot = await taken('theirs');
  const admin = await berth.user('pro', ['read', 'write', 'admin']);
  const own = page;
  page = await browser.signedIn(admin, await browser.context({ reducedMotion: 'reduce' }));
  await page.goto(`/admin/snapshots?user=${user.id}`);
  await row('theirs').getByText(user.username).waitFor();
  expect(await look()).toEqual([]);
  await click('Delete theirs');
  await dialog().getByText(`It belongs to ${user.username}`).waitFor();
  await dialog().getByRole('button', { name: 'Delete' }).click();
  await says('No snapshots');
  await eventually(async () =>
    expect(await user.api.call('GET', `/api/snapshots/${snapshot}`)).toMatchObject({ status: 404 }),
  );
  await own.context().close();
});

it('must have been without a complaint of the browser', () => {
  expect(browser.complaints).toEqual([]);
});

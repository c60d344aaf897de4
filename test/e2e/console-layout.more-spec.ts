import type { Page } from 'playwright-core';
import { testImage } from '../support/clients/api-client';
import { Berth, type TestUser } from '../support/servers/berth';
import { ConsoleBrowser, consolePages } from '../support/clients/console-browser';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';

jest.setTimeout(180_000);

const PHONE = { width: 360, height: 740 };
const DESK = { width: 1280, height: 800 };
/** Both sides of each width at which the layout changes, and some between. */
const WIDTHS = [320, 360, 480, 640, 760, 761, 768, 820, 899, 900, 980, 981, 1024, 1060, 1061, 1180, 1280, 1440];
const LONG = 'a-rather-long-name-of-a-container-as-people-give-them';

let berth: Berth;
let browser: ConsoleBrowser;
let user: TestUser;
let page: Page;

beforeAll(async () => {
  berth = await Berth.start({ engine: new FakeEngine(), environment: { VOLUME_COPY_IMAGE: testImage() } });
  browser = await ConsoleBrowser.launch(berth.url);
  user = await berth.user('pro', ['read', 'write', 'exec', 'admin']);
  page = await browser.signedIn(user, await browser.context({ reducedMotion: 'reduce' }));
});

afterAll(async () => {
  await browser.close();
  await berth.stop();
});

it.each([PHONE, DESK])('a message must appear at the bottom right, and not over the logo: %o', async (viewport) => {
  await page.setViewportSize(viewport);
  const { db_id } = await user.api.running({ name: 'deleted' });
  const row = page.locator(`tr[data-id="${db_id}"]`);
  await row.getByRole('button', { name: 'More for deleted' }).click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await page.getByRole('button', { name: 'Undo' }).waitFor();
  const box = await page.locator('.toasts').boundingBox();
  const { x, y, width, height } = box ?? { x: 0, y: 0, width: 0, height: 0 };
  expect({ right: viewport.width - x - width, bottom: viewport.height - y - height }).toEqual({
    right: 16,
    bottom: 16,
  });
  const logo = await page.locator('.brand').boundingBox();
  expect(y).toBeGreaterThan((logo?.y ?? 0) + (logo?.height ?? 0));
  await page.getByRole('button', { name: 'Dismiss' }).click();
  await page.locator('.toast').waitFor({ state: 'detached' });
});

it('the current page and tab must be seen in their rows of links', async () => {
  const { db_id } = await user.api.running({ name: 'tabs' });
  await page.setViewportSize(PHONE);
  for (const [path, row] of [
    [`/containers/${db_id}#events`, 'tabs'],
    ['/admin/audit', 'Pages'],
  ] as const) {
    await page.goto(path);
    const link = page.getByRole('navigation', { name: row, exact: true }).locator('[aria-current]');
    await eventually(async () => {
      const { x, width } = (await link.boundingBox()) ?? { x: -1, width: 0 };
      expect([path, x >= 0, x + width <= PHONE.width]).toEqual([path, true, true]);
    });
  }
});

/** What reaches beyond the window, or a table beyond the panel that it is in. */
const OVERFLOWING = `[
  ...(document.documentElement.scrollWidth > innerWidth ? ['the page, ' + document.documentElement.scrollWidth] : []),
  ...[...document.querySelectorAll('.panel')]
    .filter((panel) => panel.scrollWidth > panel.clientWidth)
    .map((panel) => panel.textContent.slice(0, 60)),
]`;

it('every page must fit every width, with all that can be done in it', async () => {
  const { db_id } = await user.api.running({ name: 'seen', labels: { team: 'the-core-team', stage: 'development' } });
  const { db_id: other } = await user.api.running({ name: LONG, role: 'standard' });
  const description = 'Node.js 24, the project and its dependencies, as on Monday before the upgrade';
  for (const each of [db_id, other]) {
    await user.api.call('POST', `/api/containers/${each}/snapshots`, {
      name: LONG,
      description,
      labels: { team: 'core' },
    });
  }
  await user.api.delete((await user.api.running({ name: `${LONG}-2`.slice(0, 60), custom_image: testImage() })).db_id);
  await user.api.call('POST', '/api/tokens', { name: LONG, scopes: ['read', 'write', 'exec'], expires_in: 30 });
  await user.api.call('PUT', '/api/admin/templates/a-rather-long-name-of-a-template', {
    image: testImage(),
    version: '2026-11-29-before-the-upgrade',
    description,
    memory_mb: 512,
    cpu_shares: 500,
    disk_mb: 2048,
    network: 'none',
    start: { command: ['/usr/local/bin/serve'] },
    tiers: ['free', 'pro', 'enterprise'],
  });
  for (const [path, heading] of consolePages(db_id)) {
    await page.goto(path);
    await page.getByRole('heading', { name: heading, exact: true }).waitFor();
    await eventually(async () => expect(await page.getByText('Loading…').count()).toBe(0));
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 800 });
      // Charts are drawn again in the frame after.
      await eventually(async () => expect([path, width, await page.evaluate(OVERFLOWING)]).toEqual([path, width, []]));
    }
  }
});

it('must have been without a complaint of the browser', () => {
  expect(browser.complaints).toEqual([]);
});

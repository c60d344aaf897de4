import { Berth } from '../support/servers/berth';
import type { Page } from 'playwright-core';
import { ConsoleBrowser } from '../support/clients/console-browser';
import { eventually } from '../support/eventually';

jest.setTimeout(240_000);

let server: Berth;
let browser: ConsoleBrowser;
let page: Page;
/** Of what was started. */
const endings: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  server = await Berth.start({ subject: 'console-life' });
  endings.push(() => server.stop());
  browser = await ConsoleBrowser.launch(server.url);
  endings.push(() => browser.close());
  const context = await browser.context({ reducedMotion: 'reduce' });
  page = await browser.signedIn(await server.user('pro'), context);
});

afterAll(async () => {
  for (const end of endings.reverse()) await end();
});

const click = (name: string): Promise<void> => page.getByRole('button', { name, exact: true }).click();

const openTab = (name: string): Promise<void> =>
  page.getByRole('navigation', { name: 'once' }).getByRole('link', { name }).click();

/** By the keyboard, into a new terminal, until its screen holds what is expected. */
async function typed(line: string, expected: string): Promise<void> {
  await openTab('Terminal');
  const screen = page.locator('.terminal-screen:visible .xterm-accessibility-tree');
  const says = (text: string): Promise<void> =>
    eventually(async () => expect(await screen.innerText()).toContain(text), { timeoutMs: 30_000 });
  await says('~#');
  // The tab may have been open before, and the link of the tab has the focus then.
  await page.locator('.terminal-screen:visible').click();
  await page.keyboard.type(line);
  await page.keyboard.press('Enter');
  await says(expected);
}

it('a container must live its whole life by clicks: created, typed in, stopped, changed, started with its data, deleted', async () => {
  await page.getByRole('link', { name: 'Create your first container' }).click();
  await page.getByLabel('Name', { exact: true }).fill('once');
  await click('Create');
  await page.getByRole('heading', { name: 'once', exact: true }).waitFor();
  await page.locator('.page-head').getByText('Running').waitFor({ timeout: 60_000 });
  await typed('echo "sum $((40+2))" | tee /home/user/kept', 'sum 42');

  await click('Stop');
  await page.getByRole('dialog').getByRole('button', { name: 'Stop' }).click();
  await page.getByText('The container was stopped.').waitFor({ timeout: 40_000 });
  await click('Settings');
  await page.getByLabel('Memory (GB)').fill('0.5');
  await click('Save');
  await openTab('Overview');
  await page.getByText('512 MB', { exact: true }).waitFor({ timeout: 40_000 });
  await click('Start');
  await typed('cat kept', 'sum 42');

  await click('More for once');
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await page.getByText('“once” was deleted.').waitFor({ timeout: 40_000 });
  await page.getByText('No containers yet').waitFor();
  expect(browser.complaints).toEqual([]);
});

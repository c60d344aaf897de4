import { readFileSync } from 'node:fs';
import type { Page } from 'playwright-core';
import type { TestUser } from '../support/berth';
import { ConsoleBrowser } from '../support/console-browser';
import { eventually } from '../support/eventually';
import { LifecycleServer } from '../support/lifecycle-server';

jest.setTimeout(120_000);

let server: LifecycleServer;
let browser: ConsoleBrowser;
let user: TestUser;
let page: Page;
/** Of what was started. */
const endings: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  server = await LifecycleServer.start('console');
  endings.push(() => server.stop());
  browser = await ConsoleBrowser.launch(server.berth.url);
  endings.push(() => browser.close());
  user = await server.berth.user('pro');
  page = await browser.signedIn(user);
});

afterAll(async () => {
  for (const end of endings.reverse()) await end();
});

/** What the seen terminal holds. */
const screen = (): Promise<string> => page.locator('.terminal-screen:visible .xterm-accessibility-tree').innerText();

async function says(expected: string): Promise<void> {
  await eventually(async () => expect(await screen()).toContain(expected), { timeoutMs: 30_000 });
}

/** By the keyboard, into the terminal that has the focus. */
async function type(line: string): Promise<void> {
  await page.keyboard.type(line);
  await page.keyboard.press('Enter');
}

async function openTab(name: string): Promise<void> {
  await page.getByRole('navigation', { name: 'once' }).getByRole('link', { name }).click();
}

describe('the life of a container by clicks, on Docker under gVisor', () => {
  it('must begin with a creation whose image and progress are seen', async () => {
    await page.getByRole('button', { name: 'Create your first container' }).click();
    await page.getByLabel('Name', { exact: true }).fill('once');
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    const row = page.getByRole('row').filter({ has: page.getByRole('link', { name: 'once' }) });
    await row.getByText('Running').waitFor({ timeout: 60_000 });
    await row.getByRole('link', { name: 'once' }).click();
    await page.getByRole('heading', { name: 'once', exact: true }).waitFor();
  });

  it('must show CPU and memory as they are used', async () => {
    await page.getByRole('region', { name: 'Memory of once' }).getByText('of 256 MB').waitFor({ timeout: 30_000 });
    expect(await page.locator('.chart canvas').count()).toBe(2);
  });

  it('must have terminals that are typed in, several of them, and come back after a reload', async () => {
    await openTab('Terminal');
    await says('~#');
    await type('echo "first-$((1+1))"');
    await says('first-2');
    await page.getByRole('button', { name: 'New terminal' }).click();
    await eventually(async () => expect(await screen()).not.toContain('first-2'));
    await says('~#');
    await type('echo "second-$((1+1))" | tee /home/user/noted.txt');
    await says('second-2');
    await page.reload();
    await says('first-2');
    await page.getByRole('button', { name: 'Terminal 2', exact: true }).click();
    await says('second-2');
    const open = await user.api.call('GET', `/api/containers/${new URL(page.url()).pathname.split('/')[2]}/terminals`);
    expect(open.body['terminals']).toHaveLength(2);
    // Out by the keyboard: Tab is the shell's.
    await page.locator('.terminal-screen:visible .xterm-helper-textarea').focus();
    await page.keyboard.press('Control+.');
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Terminal 2');
  });

  it('must tell how a shell ended, and begin another one', async () => {
    await page.locator('.terminal-screen:visible .xterm-helper-textarea').focus();
    await type('exit 7');
    await page.getByText('The shell has ended with code 7.').waitFor();
    await page.getByRole('button', { name: 'New shell' }).click();
    await says('~#');
    await page.getByRole('button', { name: 'Close terminal 2' }).click();
    await says('first-2');
  });

  it('must have files that are read, changed, sent, fetched, renamed and deleted', async () => {
    await openTab('Files');
    await page.getByRole('button', { name: 'noted.txt', exact: true }).click();
    const content = page.getByLabel('Content of noted.txt');
    await eventually(async () => expect(await content.inputValue()).toBe('second-2\n'));
    await content.fill('changed here\n');
    await page.keyboard.press('Control+s');
    await page.getByText('noted.txt was saved.').waitFor();
    await page.getByRole('button', { name: 'Close', exact: true }).click();
    const upload = { name: 'sent.bin', mimeType: 'application/octet-stream', buffer: Buffer.from([0, 255, 1]) };
    await page.getByLabel('Files to upload').setInputFiles(upload);
    await page.getByRole('button', { name: 'sent.bin', exact: true }).click();
    await page.getByText('This is no text.').waitFor();
    await page.getByRole('button', { name: 'Close', exact: true }).click();
    await page.getByRole('button', { name: 'More for noted.txt' }).click();
    const downloading = page.waitForEvent('download');
    await page.getByRole('menuitem', { name: 'Download' }).click();
    const downloaded = await (await downloading).path();
    expect(readFileSync(downloaded, 'utf8')).toBe('changed here\n');
    await page.getByRole('button', { name: 'New folder' }).click();
    await page.getByLabel('Name', { exact: true }).fill('kept');
    await page.getByRole('button', { name: 'Create', exact: true }).click();
    await page.getByRole('button', { name: 'More for sent.bin' }).click();
    await page.getByRole('menuitem', { name: 'Rename' }).click();
    await page.getByLabel('Name', { exact: true }).fill('renamed.bin');
    await page.getByRole('button', { name: 'Rename', exact: true }).click();
    await page.getByRole('button', { name: 'More for renamed.bin' }).click();
    await page.getByRole('menuitem', { name: 'Delete' }).click();
    await page.getByRole('button', { name: 'Delete', exact: true }).click();
    await eventually(async () =>
      expect(await page.getByRole('button', { name: 'renamed.bin', exact: true }).count()).toBe(0),
    );
    await page.getByRole('button', { name: 'kept', exact: true }).click();
    await page.getByText('This folder is empty').waitFor();
  });

  it('must end with a stop, a change within the limits, a start on the same data, and a deletion', async () => {
    await page.getByRole('button', { name: 'Stop', exact: true }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Stop' }).click();
    await page.getByText('“once” does not run').waitFor({ timeout: 30_000 });
    await page.getByRole('button', { name: 'Settings' }).click();
    await page.getByLabel('Memory, MB').fill('512');
    await page.getByRole('button', { name: 'Save' }).click();
    await openTab('Overview');
    await page.getByText('512 MB', { exact: true }).waitFor({ timeout: 30_000 });
    await page.getByRole('button', { name: 'Start', exact: true }).click();
    await page.getByRole('button', { name: 'Stop', exact: true }).waitFor({ timeout: 40_000 });
    await page.getByRole('region', { name: 'Memory of once' }).getByText('of 512 MB').waitFor({ timeout: 40_000 });
    await openTab('Files');
    await page.getByRole('button', { name: 'noted.txt', exact: true }).waitFor();
    await page.getByRole('button', { name: 'More for once' }).click();
    await page.getByRole('menuitem', { name: 'Delete' }).click();
    await page.getByText('“once” was deleted.').waitFor({ timeout: 40_000 });
    await page.getByText('No containers yet').waitFor();
    expect(browser.complaints).toEqual([]);
  });
});

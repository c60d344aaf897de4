import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import type { NewContainer } from '../support/clients/api-client';
import { Berth, LONG_WAIT, type TestUser } from '../support/servers/berth';
import { ConsoleBrowser } from '../support/clients/console-browser';
import { eventually } from '../support/eventually';
import { freePort } from '../support/free-port';
import { RealDocker } from '../support/docker/real-docker';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';

jest.setTimeout(240_000);

let database: TestDatabase;
let environment: Record<string, string>;
let server: Berth;
let browser: ConsoleBrowser;
let user: TestUser;
let container: NewContainer;
let page: Page;
/** A start command that writes 300 lines and stays. */
const START = ['sh', '-c', 'for each in $(seq 0 299); do echo line $each; done; exec sleep 100000'];
/** Of what was started. */
const endings: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  database = await openTestDatabase();
  endings.push(() => database.drop());
  // Not removed when the server stops, which is restarted.
  const INSTANCE_ID = `test-console-inside-${String(process.pid)}`;
  endings.push(() => new RealDocker().removeInstance(INSTANCE_ID));
  environment = { INSTANCE_ID, PORT: String(await freePort()), ...LONG_WAIT };
  server = await Berth.start({ environment, database });
  endings.push(() => server.stop());
  browser = await ConsoleBrowser.launch(server.url);
  endings.push(() => browser.close());
  user = await server.user('pro');
  container = await user.api.running({ name: 'once', custom_image: process.env['TEST_SANDBOX_IMAGE'] });
  page = await browser.signedIn(user);
  await page.getByRole('link', { name: 'once', exact: true }).click();
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

/** Waits for the prompt of a new shell. The screen of the shell before it, which showed `before`, may stay a moment. */
async function saysAnew(before: string): Promise<void> {
  await eventually(async () => expect(await screen()).not.toContain(before));
  await says('~#');
}

async function openTab(name: string): Promise<void> {
  await page.getByRole('navigation', { name: 'once' }).getByRole('link', { name }).click();
}

describe('inside a container by clicks, on Docker under gVisor', () => {
  it('must show CPU and memory as they are used', async () => {
    await openTab('Overview');
    await page.getByRole('region', { name: 'Memory of once' }).getByText('of 256 MB').waitFor({ timeout: 30_000 });
    await eventually(async () => expect(await page.locator('.chart canvas').count()).toBe(4));
  });

  it('must have terminals that are typed in, several of them, and come back after a reload', async () => {
    await openTab('Terminal');
    await says('~#');
    await type('echo "first-$((1+1))"');
    await says('first-2');
    await page.getByRole('button', { name: 'New terminal' }).click();
    await saysAnew('first-2');
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
    await eventually(async () => expect(await page.evaluate('document.activeElement.textContent')).toBe('Terminal 2'));
  });

  it('must tell how a shell ended, and begin another one', async () => {
    await page.locator('.terminal-screen:visible .xterm-helper-textarea').focus();
    await type('exit 7');
    await page.getByText('The shell exited with code 7.').waitFor();
    await page.getByRole('button', { name: 'Restart shell' }).click();
    // The new shell has to be open: one that is left before that is ended, and not listed for other windows.
    await saysAnew('exit 7');
    await page.getByRole('button', { name: 'Close terminal 2' }).click();
    await says('first-2');
  });

  it('must show what is open elsewhere, let one watch and take over, and end it', async () => {
    await page.locator('.terminal-screen:visible .xterm-helper-textarea').focus();
    await type('echo "from-$((1+2))"');
    await says('from-3');
    const context = await browser.context({ viewport: { width: 390, height: 760 } });
    const other = await browser.signedIn(user, context);
    await other.goto(new URL(page.url()).pathname + '#terminal');
    const theirs = other.locator('.terminal-screen:visible .xterm-accessibility-tree');
    // Its own shell, which it leaves for the one that is open elsewhere.
    await eventually(async () => expect(await theirs.innerText()).toContain('~#'));
    const elsewhere = other.getByRole('group', { name: 'Open elsewhere' });
    await elsewhere.getByRole('button', { name: '1 attached' }).first().click();
    await other.getByText('Another window is typing in this terminal. You are watching.').waitFor();
    await eventually(async () => expect(await theirs.innerText()).toContain('from-3'));
    expect(await browser.faultsOf(other)).toEqual([]);
    expect(await other.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
    await other.getByRole('button', { name: 'Take over' }).click();
    await page.getByText('Another window is typing in this terminal. You are watching.').waitFor();
    await other.getByText('You are watching').waitFor({ state: 'detached' });
    await other.keyboard.type('exit 5\n');
    await page.getByText('The shell exited with code 5.').waitFor();
    await context.close();
    // What was left goes on, of that window and of this one, and is ended from here.
    const left = page.getByRole('group', { name: 'Open elsewhere' });
    const ends = left.getByRole('button', { name: 'End this terminal' });
    for (const count of [2, 1]) {
      await eventually(async () => expect(await ends.count()).toBe(count));
      await ends.first().click();
      await page.getByRole('dialog').getByRole('button', { name: 'End' }).click();
    }
    await left.waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Restart shell' }).click();
    await saysAnew('exit 5');
  });

  it('must have files that are read, changed, sent, fetched, renamed and deleted', async () => {
    await openTab('Files');
    await page.getByRole('button', { name: 'noted.txt', exact: true }).click();
    const content = page.getByLabel('Content of noted.txt');
    await content.getByText('second-2').waitFor();
    await content.click();
    await page.keyboard.press('Control+a');
    await page.keyboard.type('changed here\n');
    await page.keyboard.press('Control+s');
    await page.getByText('noted.txt was saved.').waitFor();
    await page.getByRole('button', { name: 'Close', exact: true }).click();
    const upload = { name: 'sent.bin', mimeType: 'application/octet-stream', buffer: Buffer.from([0, 255, 1]) };
    await page.getByLabel('Files to upload').setInputFiles(upload);
    await page.getByRole('button', { name: 'sent.bin', exact: true }).click();
    await page.getByText('This file is not text.').waitFor();
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

  it('must write to a process, line by line, until its input ends', async () => {
    await openTab('Processes');
    await page.getByRole('button', { name: 'New process' }).click();
    await page.getByLabel('Command').fill(`sh -c 'read name; echo "hello $name"; cat; echo over'`);
    await page.getByRole('button', { name: 'Start', exact: true }).click();
    const output = page.getByRole('log', { name: 'Output of sh' });
    const input = page.getByLabel('Input of sh');
    await input.fill('ada');
    await input.press('Enter');
    await output.getByText('hello ada').waitFor();
    await eventually(async () => expect(await input.inputValue()).toBe(''));
    await input.fill('more');
    await page.getByRole('button', { name: 'Send' }).click();
    await output.getByText('more').waitFor();
    expect(await browser.faultsOf(page)).toEqual([]);
    await page.getByRole('button', { name: 'End input' }).click();
    await output.getByText('over').waitFor();
    await page.getByText('Ended', { exact: true }).waitFor();
    expect(await input.count()).toBe(0);
    await page.getByRole('button', { name: 'Remove' }).click();
    await page.getByText('No processes').waitFor();
  });

  it('must list processes, show what one writes as it comes, and end it', async () => {
    await openTab('Processes');
    await page.getByText('No processes').waitFor();
    expect(await browser.faultsOf(page)).toEqual([]);
    await page.getByRole('button', { name: 'New process' }).click();
    await page.getByLabel('Command').fill('sh -c "echo begun; echo odd >&2; read never"');
    await page.getByRole('button', { name: 'Start', exact: true }).click();
    const output = page.getByRole('log', { name: 'Output of sh' });
    await output.getByText('begun').waitFor();
    expect(await output.locator('.stderr > span').innerText()).toBe('odd');
    const answer = await user.api.call('POST', `/api/containers/${container.db_id}/processes`, {
      command: ['sh', '-c', 'printf "\\033[31mred\\033[0m\\r\\n"; exit 3'],
    });
    expect(answer.status).toBe(201);
    await page.getByRole('link', { name: 'Processes' }).last().click();
    const failed = page.getByRole('row').filter({ hasText: 'Exit code 3' });
    await failed.waitFor();
    expect(await browser.faultsOf(page)).toEqual([]);
    await failed.getByRole('link', { name: 'Output of sh' }).click();
    await eventually(async () => expect(await output.locator('.log-line > span').allInnerTexts()).toEqual(['red']));
    await page.getByRole('button', { name: 'Remove' }).click();
    await page.getByRole('row').filter({ hasText: 'Running' }).getByRole('link', { name: 'Output of sh' }).click();
    await output.getByText('begun').waitFor();
    await page.getByRole('button', { name: 'End', exact: true }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'End' }).click();
    await page.getByText('Ended on request').waitFor({ timeout: 30_000 });
    const listed = await user.api.call('GET', `/api/containers/${container.db_id}/processes`);
    expect(listed.body['processes']).toMatchObject([{ program: 'sh', status: 'exited', reason: 'ended' }]);
  });

  it('must show the logs of the start command and of processes with their times, search, follow and save them', async () => {
    const { db_id } = container;
    const patched = await user.api.patch(db_id, { start: { command: START } });
    expect([patched.status, (await user.api.stop(db_id)).status, (await user.api.start(db_id)).status]).toEqual([
      200, 200, 200,
    ]);
    await openTab('Logs');
    const log = page.getByRole('log');
    const texts = (): Promise<string[]> => log.locator('.log-line > span').allInnerTexts();
    await log.getByText('line 299').waitFor();
    expect(await log.locator('time').first().getAttribute('datetime')).toMatch(/^20\d\d-.*Z$/);
    const inLog = (expression: string): Promise<unknown> =>
      page.evaluate(`((log) => ${expression})(document.querySelector('[role=log]'))`);
    const end = (): Promise<unknown> => inLog('log.scrollHeight - log.scrollTop - log.clientHeight');
    await eventually(async () => expect(await end()).toBeLessThan(24));
    await inLog('(log.scrollTop = 0)');
    await page.getByRole('button', { name: 'Follow', pressed: false }).click();
    await eventually(async () => expect(await end()).toBeLessThan(24));
    await page.getByLabel('Search lines').fill('LINE 29');
    await page.getByText('11 lines').waitFor();
    expect((await texts()).at(0)).toBe('line 29');
    expect(await browser.faultsOf(page)).toEqual([]);
    const [saved] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download' }).click(),
    ]);
    expect(saved.suggestedFilename()).toBe('sh.log');
    const lines = (await readFile(await saved.path(), 'utf8')).trimEnd().split('\n');
    expect(lines).toHaveLength(300);
    expect(lines.at(-1)).toMatch(/^20\d\d-\d\d-\d\dT[\d:.]+Z line 299$/);
    await user.api.call('POST', `/api/containers/${container.db_id}/processes`, { command: ['echo', 'another'] });
    const program = page.getByLabel('Program');
    await program.selectOption((await program.locator('option', { hasText: /^echo/ }).getAttribute('value')) ?? '');
    await log.getByText('another').waitFor();
    for (const width of [390, 768, 1440]) {
      await page.setViewportSize({ width, height: 900 });
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width);
      expect(await browser.faultsOf(page)).toEqual([]);
    }
  });

  it('must have been without a complaint of the browser', () => {
    expect(browser.complaints).toEqual([]);
  });

  // After that: the browser complains of connections that are refused.
  it('must come back to the same shell after a restart of the server, in an open page and in a closed one', async () => {
    const restart = async (): Promise<void> => {
      server = await Berth.start({ environment, database });
      user = server.as(user);
    };
    const focus = (): Promise<void> => page.locator('.terminal-screen:visible .xterm-helper-textarea').focus();
    await openTab('Terminal');
    await focus();
    await type('mine=$((40+2)); echo "set-$mine"');
    await says('set-42');
    await server.stop();
    await page.getByText('Connection lost. Reconnecting…').waitFor();
    await restart();
    await page.getByText('Connection lost. Reconnecting…').waitFor({ state: 'detached' });
    await focus();
    await type('echo "open-$mine"');
    await says('open-42');

    const address = page.url();
    await page.goto('about:blank');
    await server.stop();
    await restart();
    await page.goto(address);
    await says('open-42');
    await focus();
    await type('clear; echo "closed-$mine"');
    await says('closed-42');
    expect(await page.getByText('This is a new shell.').count()).toBe(0);
  });
});

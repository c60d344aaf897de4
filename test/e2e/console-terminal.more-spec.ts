import { rm } from 'node:fs/promises';
import type { BrowserContext, Page } from 'playwright-core';
import { Berth, type TestUser } from '../support/servers/berth';
import { ConsoleBrowser } from '../support/clients/console-browser';
import { eventually } from '../support/eventually';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';

jest.setTimeout(180_000);

let database: TestDatabase;
let berth: Berth;
let browser: ConsoleBrowser;
let user: TestUser;
let id: string;
let context: BrowserContext;
let page: Page;

beforeAll(async () => {
  const environment = { ENGINE: 'simulated', SIMULATION_SPEED: '1000', INSTANCE_ID: 'console-terminal' };
  database = await openTestDatabase();
  berth = await Berth.start({ environment, database });
  browser = await ConsoleBrowser.launch(berth.url);
  user = await berth.user('pro');
  id = (await user.api.running({ name: 'once', image: 'sandbox', custom_image: null })).db_id;
  context = await browser.context({ viewport: { width: 1100, height: 800 } });
  page = await browser.signedIn(user, context);
  page.setDefaultTimeout(15_000);
  await page.goto(`/containers/${id}#terminal`);
  await says('# ');
});

afterAll(async () => {
  await browser.close();
  await berth.stop();
  await rm(`${database.url.replace('sqlite:', '')}.simulated`, { recursive: true });
  await database.drop();
});

const screen = (of: Page): Promise<string> =>
  of.locator('.terminal-screen:visible .xterm-accessibility-tree').innerText();

async function says(expected: string, of = page): Promise<void> {
  await eventually(async () => expect(await screen(of)).toContain(expected));
}

const focus = (of = page): Promise<void> => of.locator('.terminal-screen:visible .xterm-helper-textarea').focus();

async function type(line: string, of = page): Promise<void> {
  await of.keyboard.type(line);
  await of.keyboard.press('Enter');
}

const hasFocus = (of = page): Promise<unknown> =>
  of.evaluate('document.activeElement.classList.contains("xterm-helper-textarea")');

/** Words in the terminal that is seen; the other terminals of the page may say the same. */
const words = (text: string, of = page) => of.locator('.terminal-screen:visible').getByText(text);

const button = (name: string, of = page) => of.getByRole('button', { name, exact: true });

/** What a browser gives a page at Ctrl+V. */
const paste = (text: string, of = page): Promise<unknown> =>
  of.evaluate(`{
    const clipboardData = new DataTransfer();
    clipboardData.setData('text/plain', ${JSON.stringify(text)});
    document.activeElement.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
  }`);

const sh = async (script: string): Promise<unknown> =>
  (await user.api.call('POST', `/api/containers/${id}/exec`, { command: ['sh', '-c', script] })).body['stdout'];

/** The rows and columns that the shell knows of. */
const heightOf = async (selector: string, of = page): Promise<number> =>
  (await of.locator(selector).boundingBox())?.height ?? 0;

describe('a terminal on a page', () => {
  it('must have the height that the page leaves, and the whole window in full screen', async () => {
    const before = await heightOf('.terminal-area');
    expect(before).toBeGreaterThan(550);
    expect(await page.evaluate('document.documentElement.scrollHeight <= innerHeight')).toBe(true);
    await page.setViewportSize({ width: 1100, height: 640 });
    await eventually(async () => expect(await heightOf('.terminal-area')).toBe(before - 160));
    await focus();
    await page.keyboard.press('Control+Shift+Enter');
    expect(await page.locator('.terminal-area').boundingBox()).toEqual({ x: 0, y: 0, width: 1100, height: 640 });
    expect(await hasFocus()).toBe(true);
    // Escape is the shell's.
    await page.keyboard.press('Escape');
    await button('Leave full screen').waitFor();
    expect(await browser.faultsOf(page)).toEqual([]);
    // What is behind it is out of reach.
    expect(await page.evaluate('document.querySelector(".sidebar").inert')).toBe(true);
    await button('Leave full screen').click();
    expect(await hasFocus()).toBe(true);
    await button('Full screen').click();
    await page.keyboard.press('Control+Shift+Enter');
    expect(await page.evaluate('document.querySelector(".sidebar").inert')).toBe(false);
    await page.setViewportSize({ width: 1100, height: 800 });
  });

  it('must find text in the output, older and newer, with or without case, and give the focus back', async () => {
    await focus();
    await type('clear; for i in $(seq 1 300); do echo "line-$i"; done; echo "LINE-e$((1+1))"');
    await says('LINE-e2');
    await page.keyboard.press('Control+Shift+F');
    const search = page.getByRole('search');
    const field = search.getByLabel('Search the output');
    const status = search.getByRole('status');
    await field.fill('line-29');
    // Lines 29 and 290 to 299; the newest first.
    await eventually(async () => expect(await status.innerText()).toBe('11 of 11'));
    await field.press('Enter');
    await eventually(async () => expect(await status.innerText()).toBe('10 of 11'));
    await field.press('Shift+Enter');
    await search.getByRole('button', { name: 'Next match' }).click();
    // Around the end, to the oldest.
    await eventually(async () => expect(await status.innerText()).toBe('1 of 11'));
    await says('line-29\n');
    expect(await screen(page)).not.toContain('line-299');
    await field.fill('line-e2');
    await eventually(async () => expect(await status.innerText()).toBe('1 of 1'));
    await search.getByRole('button', { name: 'Match case' }).click();
    await eventually(async () => expect(await status.innerText()).toBe('No matches'));
    expect(await browser.faultsOf(page)).toEqual([]);
    await field.fill('LINE-e2');
    await eventually(async () => expect(await status.innerText()).toBe('1 of 1'));
    await field.press('Escape');
    await search.waitFor({ state: 'detached' });
    expect(await hasFocus()).toBe(true);
  });

  it('must have text of the chosen size, also after a reload, and leave the browser its zoom elsewhere', async () => {
    const size = (): Promise<unknown> =>
      page.evaluate('parseFloat(getComputedStyle(document.querySelector(".xterm-rows")).fontSize)');
    await focus();
    expect(await size()).toBe(13);
    await page.keyboard.press('Control+=');
    await page.keyboard.press('Control+=');
    expect(await size()).toBe(15);
    await page.keyboard.press('Control+-');
    await button('Larger text').click();
    await button('Larger text').click();
    expect([await size(), await hasFocus()]).toEqual([16, true]);
    await page.reload();
    await says('LINE-e2');
    expect(await size()).toBe(16);
    await focus();
    await page.keyboard.press('Control+0');
    expect(await size()).toBe(13);
    await page.locator('.terminal-tabs [aria-pressed=true]').focus();
    expect(
      await page.evaluate(`{
        const event = new KeyboardEvent('keydown', { key: '-', ctrlKey: true, bubbles: true, cancelable: true });
        document.activeElement.dispatchEvent(event);
      }`),
    ).toBe(true);
    expect(await size()).toBe(13);
  });

  it('must copy and paste, say so, and say what helps if the browser refuses', async () => {
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    await focus();
    await page.keyboard.press('Control+Shift+C');
    await page.getByText('Nothing is selected in the terminal.').waitFor();
    await type('clear; echo "copy-$((40+2))"');
    await says('copy-42');
    await page.keyboard.press('Control+Shift+F');
    await page.getByRole('search').getByLabel('Search the output').fill('copy-42');
    await page.getByRole('search').getByText('1 of 1').waitFor();
    await page.keyboard.press('Escape');
    await page.keyboard.press('Control+Shift+C');
    await page.getByText('Copied.').waitFor();
    expect(await page.evaluate('navigator.clipboard.readText()')).toBe('copy-42');
    await page.evaluate('navigator.clipboard.writeText("echo pasted-$((1+1))")');
    await button('More for this terminal').click();
    await page.getByRole('menuitem', { name: 'Paste' }).click();
    await says('echo pasted-$((1+1))');
    expect(await hasFocus()).toBe(true);
    await page.keyboard.press('Enter');
    await says('pasted-2');
    await context.clearPermissions();
    // Without what was said before.
    await page.reload();
    await says('pasted-2');
    await page.evaluate(
      'navigator.clipboard.readText = navigator.clipboard.writeText = () => Promise.reject(new Error("refused"))',
    );
    await button('More for this terminal').click();
    await page.getByRole('menuitem', { name: 'Paste' }).click();
    await page.getByText('Press Ctrl+V instead.').waitFor();
    // The older way still copies.
    await button('More for this terminal').click();
    await page.getByRole('menuitem', { name: 'Select all' }).click();
    await page.keyboard.press('Control+Shift+C');
    await page.getByText('Copied.').waitFor();
  });

  it('must ask before it pastes several lines, unless the program recognizes pasted text', async () => {
    await focus();
    await type('clear');
    await paste('touch /home/user/one\ntouch /home/user/two\n');
    const dialog = page.getByRole('dialog', { name: 'Paste 2 lines?' });
    await dialog.getByText('touch /home/user/one').waitFor();
    expect(await browser.faultsOf(page)).toEqual([]);
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    expect(await hasFocus()).toBe(true);
    expect(await sh('ls /home/user')).toBe('');
    await paste('touch /home/user/one\ntouch /home/user/two\n');
    await dialog.getByRole('button', { name: 'Paste' }).click();
    await eventually(async () => expect(await sh('ls /home/user')).toBe('one\ntwo\n'));
    expect(await hasFocus()).toBe(true);
    await type(`printf '\\033[?2004h%s' "on-$((1+1))"; cat > /home/user/pasted`);
    await says('on-2');
    await paste('a\u001b[201~b\nc\n');
    // The end of the pasted text is a line that is not ended yet.
    await page.keyboard.press('Control+d');
    await page.keyboard.press('Control+d');
    await eventually(async () => expect(await sh('cat /home/user/pasted')).toContain('a[201~b\nc\n'));
    expect(await dialog.count()).toBe(0);
    await type(`printf '\\033[?2004l'`);
  });

  it('must be called as the user names it, here and for other windows, and by its program in the title', async () => {
    await focus();
    await type(`clear; printf '\\033]0;at work\\007'`);
    await eventually(async () => expect(await page.title()).toBe('at work · once · Berth'));
    await button('Terminal 1').dblclick();
    await page.getByLabel('New name of Terminal 1').fill('build');
    await page.keyboard.press('Enter');
    await eventually(async () => expect(await page.title()).toBe('build · once · Berth'));
    await button('New terminal').click();
    await button('Terminal 2').focus();
    await page.keyboard.press('ArrowLeft');
    expect(await page.evaluate('document.activeElement.textContent')).toBe('build');
    await page.keyboard.press('F2');
    await eventually(async () => expect(await page.evaluate('document.activeElement.value')).toBe('build'));
    await page.keyboard.press('Escape');
    await eventually(async () => expect(await page.evaluate('document.activeElement.textContent')).toBe('build'));
    const other = await context.newPage();
    await other.goto(`/containers/${id}#terminal`);
    await says('# ', other);
    await other.getByRole('group', { name: 'Open elsewhere' }).getByRole('button', { name: 'build' }).click();
    await words('You are watching.', other).waitFor();
    await button('build', other).waitFor();
    await other.close();
    await page.reload();
    await button('build').waitFor();
    await page.getByRole('navigation', { name: 'once' }).getByRole('link', { name: 'Overview' }).click();
    await eventually(async () => expect(await page.title()).toBe('once · Berth'));
    await page.getByRole('navigation', { name: 'once' }).getByRole('link', { name: 'Terminal' }).click();
    await says('# ');
  });

  it('must say why its shell is gone, and give the button that helps', async () => {
    await focus();
    await type('exit 7');
    await words('The shell exited with code 7.').waitFor();
    // What it wrote is still there, and Tab leads to the button.
    await says('exit 7');
    await focus();
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Restart shell');
    expect(await browser.faultsOf(page)).toEqual([]);
    await page.keyboard.press('Enter');
    await eventually(async () => expect(await screen(page)).not.toContain('exit 7'));
    await says('# ');
    expect(await hasFocus()).toBe(true);
    await type('echo "before-$((1+1))"');
    await says('before-2');

    await user.api.call('POST', `/api/containers/${id}/pause`);
    await words('The container is paused.').waitFor();
    expect(await screen(page)).toContain('before-2');
    await page.keyboard.type('not sent');
    await button('Resume container').click();
    await words('The container is paused.').waitFor({ state: 'detached' });
    await eventually(async () => expect(await hasFocus()).toBe(true));
    await type('echo "after-$((1+2))"');
    await says('after-3');
    expect(await screen(page)).not.toContain('not sent');

    await user.api.stop(id);
    await words('The container was stopped.').waitFor();
    expect(await screen(page)).toContain('after-3');
    await button('Start container').click();
    await words('The container was stopped. This is a new shell.').waitFor();
    await says('# ');
    await focus();
    await type('echo "new-$((2+2))"');
    await says('new-4');
  });

  it('must come back to its shell after a new sign-in, if its token was revoked', async () => {
    const { body } = await user.api.call('GET', '/api/tokens');
    const [own] = (body['tokens'] as { id: string; name: string }[]).filter(({ name }) => name !== 'test');
    expect((await user.api.call('DELETE', `/api/tokens/${String(own?.id)}`)).status).toBe(200);
    await page.getByText('Your session has ended. Its token was revoked or has expired.').waitFor();
    const code = await user.api.call('POST', '/api/auth/codes');
    await page.goto(`/#code=${String(code.body['code'])}`);
    await page.getByRole('heading', { name: 'Containers', exact: true }).waitFor();
    await page.goto(`/containers/${id}#terminal`);
    await says('new-4');
  });
});

describe('a terminal on a phone', () => {
  let phone: Page;

  beforeAll(async () => {
    const touch = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };
    phone = await browser.signedIn(user, await browser.context(touch));
    await phone.goto(`/containers/${id}#terminal`);
    await says('# ', phone);
  });

  it('must have the keys that a phone lacks, large enough, without losing the focus', async () => {
    const keys = phone.getByRole('group', { name: 'Keys' });
    const tap = (name: string): Promise<void> => keys.getByRole('button', { name, exact: true }).tap();
    for (const each of await keys.getByRole('button').all()) {
      const box = await each.boundingBox();
      expect(Math.min(box?.width ?? 0, box?.height ?? 0)).toBeGreaterThanOrEqual(44);
    }
    expect(await phone.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
    expect(await browser.faultsOf(phone)).toEqual([]);
    await focus(phone);
    await type('cat > /home/user/keys', phone);
    for (const name of ['Up', 'Esc', 'Tab', 'Pipe', 'Slash', 'Ctrl', 'Right']) await tap(name);
    await phone.keyboard.press('Enter');
    await eventually(async () => expect(await sh('cat /home/user/keys')).toBe('\u001b[A\u001b\t|/\u001b[1;5C\n'));
    await tap('Ctrl');
    expect(await keys.getByRole('button', { name: 'Ctrl' }).getAttribute('aria-pressed')).toBe('true');
    await phone.keyboard.type('c');
    expect(await keys.getByRole('button', { name: 'Ctrl' }).getAttribute('aria-pressed')).toBe('false');
    expect(await hasFocus(phone)).toBe(true);
    await type('clear; echo "tapped-$((3+3))"', phone);
    await says('tapped-6', phone);
  });

  it('must send what a keyboard composes before a key that is tapped, and the Ctrl of its first letter at once', async () => {
    const ime = await phone.context().newCDPSession(phone);
    const compose = (text: string): Promise<unknown> =>
      ime.send('Input.imeSetComposition', { text, selectionStart: text.length, selectionEnd: text.length });
    const keys = phone.getByRole('group', { name: 'Keys' });
    await focus(phone);
    await type('clear; read -r line; echo "got=$line"; sleep 1000', phone);
    await compose('ab');
    await keys.getByRole('button', { name: 'Pipe' }).tap();
    await phone.keyboard.press('Enter');
    await says('got=ab|', phone);
    await keys.getByRole('button', { name: 'Ctrl' }).tap();
    await compose('c');
    await says('^C', phone);
    await compose('clear');
    await ime.send('Input.insertText', { text: 'clear' });
    await phone.keyboard.press('Enter');
    // `lear`, as the first letter has been sent.
    await says('lear: not found', phone);
  });

  it('must stay above a keyboard on the screen', async () => {
    await focus(phone);
    await phone.evaluate(`{
      Object.defineProperty(visualViewport, 'height', { configurable: true, get: () => 400 });
      visualViewport.dispatchEvent(new Event('resize'));
    }`);
    await eventually(async () => {
      const box = await phone.locator('.terminal-area').boundingBox();
      expect(box?.y).toBeGreaterThanOrEqual(0);
      expect((box?.y ?? 0) + (box?.height ?? 0)).toBeLessThanOrEqual(400);
      expect(box?.height).toBeGreaterThan(380);
    });
    await button('Full screen', phone).tap();
    expect(await phone.locator('.terminal-area').boundingBox()).toEqual({ x: 0, y: 0, width: 360, height: 400 });
    await button('Leave full screen', phone).tap();
  });

  it('must have been without a complaint of the browser', () => {
    expect(browser.complaints).toEqual([]);
  });
});

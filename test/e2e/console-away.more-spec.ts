import { mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CDPSession, Page } from 'playwright-core';
import { DEFAULT_TIERS } from '../../src/tiers/tier-table';
import { Berth, type TestUser } from '../support/servers/berth';
import { ConsoleBrowser } from '../support/clients/console-browser';
import { eventually } from '../support/eventually';
import { freePort } from '../support/free-port';
import { TcpProxy } from '../support/faults/tcp-proxy';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';

jest.setTimeout(180_000);

/** For a file of tiers: the usual ones, and one that lets nobody into containers. */
const folder = mkdtempSync(join(tmpdir(), 'berth-tiers-'));
let environment: Record<string, string>;
let database: TestDatabase;
let berth: Berth;
/** Between the browser and the server. */
let cable: TcpProxy;
let browser: ConsoleBrowser;
let user: TestUser;
let id: string;
let page: Page;
let keys: CDPSession;

beforeAll(async () => {
  const PORT = String(await freePort());
  const TIERS_FILE = join(folder, 'tiers.json');
  const tiers = { ...DEFAULT_TIERS.tiers, closed: Object.assign({ exec: false }, DEFAULT_TIERS.tiers['pro']) };
  writeFileSync(TIERS_FILE, JSON.stringify({ ...DEFAULT_TIERS, tiers }));
  environment = { ENGINE: 'simulated', SIMULATION_SPEED: '1000', INSTANCE_ID: 'console-away', PORT, TIERS_FILE };
  database = await openTestDatabase();
  berth = await Berth.start({ environment, database });
  cable = await TcpProxy.before(`http://127.0.0.1:${PORT}`);
  browser = await ConsoleBrowser.launch(`http://${cable.host}`);
  user = await berth.user('pro');
  id = (await user.api.running({ name: 'once', image: 'sandbox', custom_image: null })).db_id;
  page = await browser.signedIn(user, await browser.context({ viewport: { width: 1100, height: 800 } }));
  keys = await page.context().newCDPSession(page);
  await page.goto(`/containers/${id}#terminal`);
  await says('# ');
});

afterAll(async () => {
  await browser.close();
  await cable.down();
  await berth.stop();
  await rm(`${database.url.replace('sqlite:', '')}.simulated`, { recursive: true });
  await database.drop();
  await rm(folder, { recursive: true });
});

const screen = (): Promise<string> => page.locator('.terminal-screen:visible .xterm-accessibility-tree').innerText();

const says = (text: string): Promise<void> => eventually(async () => expect(await screen()).toContain(text));

const sh = async (script: string): Promise<unknown> =>
  (await user.api.call('POST', `/api/containers/${id}/exec`, { command: ['sh', '-c', script] })).body['stdout'];

const focus = (): Promise<void> => page.locator('.terminal-screen:visible .xterm-helper-textarea').focus();

/** Text as an emoji picker or dictation gives it. */
const insert = (text: string): Promise<unknown> => keys.send('Input.insertText', { text });

const compose = (text: string): Promise<unknown> =>
  keys.send('Input.imeSetComposition', { text, selectionStart: text.length, selectionEnd: text.length });

/** A clipboard's text, as Ctrl+V brings it. */
const paste = (text: string): Promise<unknown> =>
  page.evaluate(`{
    const clipboardData = new DataTransfer();
    clipboardData.setData('text/plain', ${JSON.stringify(text)});
    document.activeElement.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true }));
  }`);

describe('text that comes without keys', () => {
  /** Reads a line of the terminal into a file, whatever has been typed into it. */
  async function typed(type: () => Promise<unknown>): Promise<unknown> {
    await sh('rm -f /home/user/line');
    await focus();
    await page.keyboard.type('read -r line; echo "$line" > /home/user/line');
    await page.keyboard.press('Enter');
    await type();
    await page.keyboard.press('Enter');
    return eventually(async () => {
      const line = await sh('cat /home/user/line');
      expect(line).toContain('\n');
      return line;
    });
  }

  it.each<[string, string, () => Promise<unknown>]>([
    ['an emoji picker', '😀', () => insert('😀')],
    ['dictation', 'two words', () => insert('two words')],
    ['several pieces at once', 'one two three', () => Promise.all([insert('one'), insert(' two'), insert(' three')])],
    [
      'pieces between keys',
      'a😀b',
      async () => {
        await page.keyboard.type('a');
        await insert('😀');
        await page.keyboard.type('b');
      },
    ],
    [
      'a key that is held down',
      'aa😀',
      async () => {
        await page.keyboard.down('a');
        await page.keyboard.down('a');
        await insert('😀');
        await page.keyboard.up('a');
      },
    ],
    [
      'a composition',
      '漢字',
      async () => {
        await compose('か');
        await compose('かんじ');
        await insert('漢字');
      },
    ],
    [
      'a composition and what follows it at once',
      '漢字😀x',
      async () => {
        await compose('かんじ');
        await Promise.all([insert('漢字'), insert('😀')]);
        await page.keyboard.type('x');
      },
    ],
    [
      'a composition between keys',
      'a漢b',
      async () => {
        await page.keyboard.type('a');
        await compose('か');
        await insert('漢');
        await page.keyboard.type('b');
      },
    ],
    ['a clipboard', 'pasted ✓', () => paste('pasted ✓')],
  ])('must be typed once, of %s', async (_name, expected, type) => {
    expect(await typed(type)).toBe(`${expected}\n`);
  });
});

describe('while the server is away', () => {
  const interrupted = (): Promise<void> => page.getByText('Connection lost. Reconnecting…').waitFor();
  const dropped = (): Promise<void> => page.getByText('What you type is discarded until it is back').waitFor();
  const back = (): Promise<void> => page.getByText('What you typed while the server was away was discarded').waitFor();

  it('must drop what is typed and pasted after some seconds, say so, and run nothing of it later', async () => {
    await focus();
    await cable.down();
    await interrupted();
    await page.keyboard.type('touch /home/user/typed');
    await page.keyboard.press('Enter');
    await dropped();
    await page.keyboard.type('touch /home/user/later');
    await page.keyboard.press('Enter');
    await paste('touch /home/user/pasted\n');
    expect(await browser.faultsOf(page)).toEqual([]);
    await cable.up();
    await back();
    await focus();
    await page.keyboard.type('touch /home/user/after');
    await page.keyboard.press('Enter');
    await eventually(async () => expect(await sh('cd /home/user; ls after')).toBe('after\n'));
    expect(await sh('cd /home/user; ls')).toBe('after\nline\n');
    expect(await page.getByText('was discarded').count()).toBe(0);
  });

  it('must drop it too where the connection stands and nothing is answered', async () => {
    await focus();
    cable.freeze({ newcomersToo: true });
    await page.keyboard.type('x');
    await dropped();
    await page.keyboard.type('touch /home/user/frozen');
    await page.keyboard.press('Enter');
    await cable.down();
    await cable.up();
    await back();
    expect(await sh('cd /home/user; ls')).toBe('after\nline\n');
  });

  it('must say why its terminal is refused afterwards, instead of a connection that is made again', async () => {
    const admin = await berth.user('pro', ['admin']);
    const move = async (tier: string): Promise<void> => {
      expect((await admin.api.call('PATCH', `/api/admin/users/${user.id}`, { tier })).status).toBe(200);
    };
    await cable.down();
    await interrupted();
    await move('closed');
    await cable.up();
    await page.getByText('Your tier does not include terminal and file access.').waitFor();
    await move('pro');
    await page.getByRole('button', { name: 'Restart shell' }).click();
    await eventually(async () => {
      await focus();
      await page.keyboard.type('clear; echo $((6*7))');
      await page.keyboard.press('Enter');
      await eventually(async () => expect(await screen()).toContain('42'), { timeoutMs: 2_000 });
    });
  });
});

describe('the message of a lost connection', () => {
  const message = () => page.getByText('Connection lost. This page may be out of date. Reconnecting…');

  /** Where everything is that can be pressed, and the heading. */
  const places = (): Promise<unknown> =>
    page.evaluate(`[...document.querySelectorAll('h1, main :is(a, button, input)')].map((each) => {
      const { left, top } = each.getBoundingClientRect();
      return [each.textContent, left, top];
    })`);

  /** What can be pressed and is below the message. */
  const covered = (): Promise<unknown> =>
    page.evaluate(`[...document.querySelectorAll('a, button, input')].filter((each) => {
      const { left, right, top, bottom } = each.getBoundingClientRect();
      const over = document.querySelector('.lost-connection .banner').getBoundingClientRect();
      return each.checkVisibility() && top < over.bottom && bottom > over.top && left < over.right && right > over.left;
    }).map((each) => each.outerHTML)`);

  it.each([
    ['light', 1100],
    ['dark', 1100],
    ['light', 390],
    ['dark', 390],
  ] as const)('lies over the page, which stays in its place: %s, %i pixels wide', async (colorScheme, width) => {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 800 });
    await page.goto('/');
    await page.getByRole('link', { name: 'once', exact: true }).waitFor();
    await page.getByRole('status').getByText('Live').waitFor();
    const before = await places();
    await cable.down();
    await page.locator('.lost-connection .banner').waitFor();
    expect(await message().count()).toBe(1);
    expect(await places()).toEqual(before);
    expect(await covered()).toEqual([]);
    expect(await browser.faultsOf(page)).toEqual([]);
    await cable.up();
    await page.locator('.lost-connection .banner').waitFor({ state: 'detached' });
    expect(await places()).toEqual(before);
  });

  afterAll(async () => {
    await page.emulateMedia({ colorScheme: null });
    await page.setViewportSize({ width: 1100, height: 800 });
    await page.goto(`/containers/${id}#terminal`);
    await says('# ');
  });
});

// Simulated sandboxes end with the server. Those on Docker go on: `console-inside.more-spec.ts`.
describe('a shell that ended', () => {
  it('must be said to have ended in the open page once the server responds', async () => {
    await berth.stop();
    await page.getByText('Connection lost. Reconnecting…').waitFor();
    berth = await Berth.start({ environment, database });
    user = berth.as(user);
    // If the page sees its container down in between, it opens the new shell by itself.
    await page
      .getByText(/^The terminal has ended\.$|This is a new shell\./)
      .first()
      .waitFor();
    await page.getByText('Connection lost. Reconnecting…').waitFor({ state: 'detached' });
  });

  it('must be said to have ended where nothing told the page, and a new one takes its place', async () => {
    // The page is closed as well: an open page could learn of the end, and open the new shell before the reload.
    await page.reload();
    await says('# ');
    await page.goto('about:blank');
    await berth.stop();
    berth = await Berth.start({ environment, database });
    user = berth.as(user);
    await page.goto(`/containers/${id}#terminal`);
    await page.getByText('This is a new shell.').waitFor();
    await says('# ');
    // Until it is made use of.
    await focus();
    await page.keyboard.type('echo $((6*7))');
    await page.keyboard.press('Enter');
    await says('42');
    await page.getByText('This is a new shell.').waitFor({ state: 'detached' });
  });

  it('must be said to have ended with its container, where that runs again', async () => {
    await user.api.stop(id);
    await page.getByText('The container was stopped.').waitFor();
    await user.api.start(id);
    await page.getByText('This is a new shell.').waitFor();
    await says('# ');
    expect(await browser.faultsOf(page)).toEqual([]);
  });
});

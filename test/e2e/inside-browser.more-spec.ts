import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import type { NewContainer } from '../support/clients/api-client';
import { Berth, type TestUser } from '../support/servers/berth';
import { withstandNetworkChanges } from '../support/clients/console-browser';
import { eventually } from '../support/eventually';
import { TerminalPage } from './terminal-page';

jest.setTimeout(120_000);

const WINDOW_BYTES = 256 * 1024;
const FLOOD_BYTES = 20_000_000;

let site: TerminalPage;
let server: Berth;
let user: TestUser;
let container: NewContainer;
let browser: Browser;
let context: BrowserContext;
let page: Page;
/** What Chromium complains of. */
const complaints: string[] = [];
/** Of what was started. */
const endings: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  const executablePath = process.env['TEST_BROWSER'];
  if (!executablePath) throw new Error('TEST_BROWSER names no Chromium: `npm run test:more` brings one');
  site = await TerminalPage.serve();
  endings.push(() => site.close());
  server = await Berth.start({ subject: 'browser', environment: { CORS_ORIGINS: site.origin } });
  endings.push(() => server.stop());
  user = await server.user('enterprise', ['read', 'write', 'exec']);
  container = await user.api.running({ custom_image: process.env['TEST_SANDBOX_IMAGE'] });
  site.leadTo({ berth: server.url, token: user.token, container: container.db_id });
  // Chromium's own sandbox does not work for root, and the only page is ours.
  browser = await chromium.launch({ executablePath, chromiumSandbox: process.getuid?.() !== 0 });
  endings.push(() => browser.close());
  context = await browser.newContext();
  await withstandNetworkChanges(context);
  page = await context.newPage();
  page.on('console', (message) => complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(String(error)));
  await open();
});

afterAll(async () => {
  for (const end of endings.reverse()) await end();
});

/** Opens the page, until its shell has said something. */
async function open(query = ''): Promise<void> {
  await page.goto(`${site.origin}/${query}`);
  await says('~#');
}

/** What the terminal holds, with what has left the screen. */
function text(): Promise<string> {
  return page.evaluate(`(() => {
    const buffer = terminal.buffer.active;
    return Array.from({ length: buffer.length }, (_, line) => buffer.getLine(line).translateToString(true)).join('\\n');
  })()`);
}

async function says(expected: string): Promise<void> {
  await eventually(async () => expect((await text()).slice(-10_000)).toContain(expected));
}

/** By the keyboard, into what has the focus. */
async function type(line: string): Promise<void> {
  await page.locator('.xterm-screen').click();
  await page.keyboard.type(line);
  await page.keyboard.press('Enter');
}

const sessions = async (): Promise<string[]> => {
  const { body } = await user.api.call('GET', `/api/containers/${container.db_id}/terminals`);
  return (body['terminals'] as { id: string }[]).map(({ id }) => id);
};

const processes = (): Promise<string> => server.docker.exec(container.id, ['ps', '-eo', 'args']);

/** How many pixels of the terminal are bright, as text on black is. */
async function brightPixels(): Promise<number> {
  const png = (await page.locator('#terminal').screenshot()).toString('base64');
  const blank = await context.newPage();
  const bright = await blank.evaluate<number>(`(async () => {
    const image = await createImageBitmap(await (await fetch('data:image/png;base64,${png}')).blob());
    const canvas = new OffscreenCanvas(image.width, image.height).getContext('2d');
    canvas.drawImage(image, 0, 0);
    const { data } = canvas.getImageData(0, 0, image.width, image.height);
    let bright = 0;
    for (let at = 0; at < data.length; at += 4) if (data[at] + data[at + 1] + data[at + 2] > 384) bright += 1;
    return bright;
  })()`);
  await blank.close();
  return bright;
}

describe('the client of docs/inside.md in Chromium, in a page of another origin', () => {
  it('must show what is typed and answered, under a Content-Security-Policy without scripts from elsewhere', async () => {
    await type('echo "typed-$((1+1)) grün-✓"');
    await says('typed-2 grün-✓');
    // The screen is drawn in a frame after the buffer has the text.
    await eventually(async () => expect(await brightPixels()).toBeGreaterThan(500));
    expect(complaints).toEqual([]);
  });

  it('must pass its size on', async () => {
    await page.evaluate('terminal.resize(101, 31)');
    await type('stty size');
    await says('31 101');
  });

  it('must take a flood with at most 256 KiB on their way, and lose none of it', async () => {
    await page.evaluate(`
      globalThis.flood = { bytes: 0, unacknowledged: 0, most: 0 };
      socket.onAny((name, offset, bytes) => {
        if (name !== 'output') return;
        flood.bytes += bytes.byteLength;
        flood.unacknowledged += bytes.byteLength;
        flood.most = Math.max(flood.most, flood.unacknowledged);
      });
      socket.onAnyOutgoing((name, bytes) => {
        if (name === 'ack') flood.unacknowledged -= bytes;
      });
    `);
    // 100 bytes a line with the carriage return that the terminal adds.
    await type(`yes "$(printf %098d 7)" | head -c ${String((FLOOD_BYTES / 100) * 99)}; echo "flood-$((1+1))"`);
    await eventually(async () => expect((await text()).slice(-200)).toContain('flood-2'), { timeoutMs: 60_000 });
    const { bytes, most } = await page.evaluate<{ bytes: number; most: number }>('flood');
    expect(bytes).toBeGreaterThan(FLOOD_BYTES);
    expect(bytes).toBeLessThan(FLOOD_BYTES + 4096);
    expect(most).toBeLessThanOrEqual(WINDOW_BYTES);
  });

  it('must interrupt a flood by Ctrl-C', async () => {
    await type('yes 7811');
    await eventually(async () => expect(await processes()).toContain('yes 7811'));
    await says('7811\n7811');
    await page.keyboard.press('Control+c');
    await eventually(async () => expect((await text()).trimEnd().slice(-100)).toMatch(/~#$/));
    await eventually(async () => expect(await processes()).not.toContain('yes 7811'));
    await type('echo "calm-$((1+1))"');
    await says('calm-2');
  });

  it('must come back to its terminal after a broken connection, and after it was loaded again', async () => {
    const [session] = await sessions();
    await type('clear; echo "once-$((1+1))"');
    await says('once-2');
    await page.evaluate('socket.io.engine.close()');
    await eventually(async () => expect(await page.evaluate('socket.connected')).toBe(true));
    await type('echo "again-$((1+1))"');
    await says('again-2');
    expect((await text()).split('once-2')).toHaveLength(2);
    await page.reload();
    await says('again-2');
    expect(await sessions()).toEqual([session]);
    await type('echo "loaded-$((1+1))"');
    await says('loaded-2');
  });

  it('must tell how the shell ended, and begin with another one', async () => {
    const [session] = await sessions();
    await type('exit 7');
    await says('[exited 7]');
    // As in a tab that was closed before.
    await page.evaluate(`sessionStorage.setItem('terminal', ${JSON.stringify(session)})`);
    await open();
    await type('echo "new-$((1+1))"');
    await says('new-2');
    expect(await sessions()).toHaveLength(1);
    expect(await sessions()).not.toContain(session);
  });

  it('must not be seen where the page does not allow the styles that xterm.js sets', async () => {
    await open('?strict');
    await type('echo "dark-$((1+1))"');
    await says('dark-2');
    expect(await brightPixels()).toBe(0);
    expect(complaints.join()).toContain('Content Security Policy');
  });
});

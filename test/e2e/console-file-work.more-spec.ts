import { execFileSync } from 'node:child_process';
import { rm } from 'node:fs/promises';
import type { Page, Route } from 'playwright-core';
import { Berth, type TestUser } from '../support/servers/berth';
import { ConsoleBrowser } from '../support/clients/console-browser';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';
import { eventually } from '../support/eventually';

jest.setTimeout(180_000);

/** An image of 2 × 1 pixels. */
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAIAAAB7QOjdAAAADUlEQVR4nGP4zwAE/wEHAAH/4iOeWQAAAABJRU5ErkJggg==';

let database: TestDatabase;
let berth: Berth;
let browser: ConsoleBrowser;
let user: TestUser;
let id: string;
let page: Page;

beforeAll(async () => {
  database = await openTestDatabase();
  const environment = { ENGINE: 'simulated', SIMULATION_SPEED: '1000', INSTANCE_ID: 'console-file-work' };
  berth = await Berth.start({ environment, database });
  browser = await ConsoleBrowser.launch(berth.url);
  user = await berth.user('pro');
  id = (await user.api.running({ name: 'once', image: 'sandbox', custom_image: null })).db_id;
  page = await browser.signedIn(user, await browser.context({ viewport: { width: 1280, height: 900 } }));
});

afterAll(async () => {
  await browser.close();
  await berth.stop();
  await rm(`${database.url.replace('sqlite:', '')}.simulated`, { recursive: true });
  await database.drop();
});

const sh = async (script: string): Promise<string> => {
  const answer = await user.api.call('POST', `/api/containers/${id}/exec`, { command: ['sh', '-c', script] });
  return String(answer.body['stdout']);
};

/** Opens a new folder with what a script makes in it. */
async function folder(name: string, script: string): Promise<void> {
  await sh(`mkdir /home/user/${name} && cd /home/user/${name} && ${script}`);
  await page.goto(`/containers/${id}#files/home/user/${name}`);
  await page.getByRole('region', { name: `Files in /home/user/${name}` }).waitFor();
  await page.locator('.files tbody tr').first().waitFor();
}

const click = (name: string): Promise<void> => page.getByRole('button', { name, exact: true }).click();
const names = (): Promise<string[]> => page.locator('.files tbody .linklike').allInnerTexts();
const dialog = (): ReturnType<Page['getByRole']> => page.getByRole('dialog');
const transfers = (): ReturnType<Page['getByRole']> => page.getByRole('region', { name: 'Transfers' });
const selected = (): Promise<string[]> => page.locator('.files tbody tr:has(input:checked) .linklike').allInnerTexts();
const upload = (...files: readonly (readonly [name: string, content: string | Buffer])[]): Promise<void> =>
  page
    .getByLabel('Files to upload')
    .setInputFiles(files.map(([name, content]) => ({ name, mimeType: 'text/plain', buffer: Buffer.from(content) })));

describe('the files of a container in the console', () => {
  it('must be sorted by name, size and time, folders first, with numbers by their value', async () => {
    await folder(
      'sorted',
      'mkdir zoo && printf xx >file10 && printf x >file9 && printf xxx >a && touch -d 2020-01-01 a',
    );
    expect(await names()).toEqual(['zoo', 'a', 'file9', 'file10']);
    await click('Size');
    await page.locator('th[aria-sort="descending"]').getByText('Size').waitFor();
    expect(await names()).toEqual(['zoo', 'a', 'file10', 'file9']);
    await click('Modified');
    expect((await names()).at(-1)).toBe('a');
    await click('Name');
    await click('Name');
    expect(await names()).toEqual(['zoo', 'file10', 'file9', 'a']);
    await click('Name');
  });

  it('must be selected by clicks, ranges and keys', async () => {
    await folder('selected', 'touch a b c d e');
    await page.getByLabel('Select b', { exact: true }).check();
    await page.getByLabel('Select d', { exact: true }).click({ modifiers: ['Shift'] });
    expect(await selected()).toEqual(['b', 'c', 'd']);
    await page.getByRole('button', { name: 'c', exact: true }).click({ modifiers: ['Control'] });
    expect(await selected()).toEqual(['b', 'd']);
    await page.getByText('2 selected').waitFor();
    await page.keyboard.press('Escape');
    expect(await selected()).toEqual([]);
    await page.getByLabel('Select a', { exact: true }).focus();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Space');
    await page.keyboard.press('Shift+ArrowDown');
    expect(await selected()).toEqual(['b', 'c']);
    await page.keyboard.press('Control+a');
    await page.getByText('5 selected').waitFor();
    await page.getByLabel('Select all').uncheck();
    expect(await selected()).toEqual([]);
  });

  it('must be downloaded together as one archive, moved, and deleted after one question that names them', async () => {
    await folder(
      'together',
      'mkdir deep && printf in >deep/in.txt && printf one >one.txt && touch left && chmod 755 one.txt',
    );
    for (const name of ['deep', 'one.txt']) await page.getByLabel(`Select ${name}`, { exact: true }).check();
    const downloading = page.waitForEvent('download');
    await page.getByRole('group', { name: 'Selected' }).getByRole('button', { name: 'Download' }).click();
    const download = await downloading;
    expect(download.suggestedFilename()).toBe('together-2-items.tar');
    const list = execFileSync('tar', ['-tvf', await download.path()]).toString();
    expect(list).toMatch(/-rwxr-xr-x .* one\.txt\n/);
    expect(list).toMatch(/ deep\/in\.txt\n/);
    await sh('mkdir /home/user/target');
    await page.getByRole('group', { name: 'Selected' }).getByRole('button', { name: 'Move' }).click();
    await page.getByLabel('Destination folder').fill('../target');
    await dialog().getByRole('button', { name: 'Move' }).click();
    await page.getByText('2 items were moved to /home/user/target.').waitFor();
    await eventually(async () => expect(await names()).toEqual(['left']));
    await page.goto(`/containers/${id}#files/home/user/target`);
    await page.getByLabel('Select all').check();
    await page.getByLabel('Select deep', { exact: true }).focus();
    await page.keyboard.press('Delete');
    await dialog().getByText('“deep” and “one.txt” will be deleted').waitFor();
    await dialog().getByRole('button', { name: 'Delete' }).click();
    await page.getByText('This folder is empty').waitFor();
    expect(await sh('ls /home/user/target')).toBe('');
  });

  it('must not be replaced by an upload without a question, which names them before anything is sent', async () => {
    await folder('asked', 'printf old >same.txt && printf old >other.txt');
    const sent: string[] = [];
    page.on('request', (request) => {
      if (request.method() === 'PUT') sent.push(request.url());
    });
    await upload(['same.txt', 'new'], ['fresh.txt', 'new']);
    await dialog().getByText('A file already exists').waitFor();
    expect(await dialog().getByRole('listitem').allInnerTexts()).toEqual(['same.txt']);
    await dialog().getByRole('button', { name: 'Cancel' }).click();
    expect(sent).toEqual([]);
    await upload(['same.txt', 'new'], ['fresh.txt', 'new']);
    await dialog().getByRole('button', { name: 'Skip' }).click();
    await eventually(async () => expect(await names()).toEqual(['fresh.txt', 'other.txt', 'same.txt']));
    expect(await sh('cat /home/user/asked/same.txt /home/user/asked/fresh.txt')).toBe('oldnew');
    await upload(['same.txt', 'newer']);
    await dialog().getByRole('button', { name: 'Replace' }).click();
    await eventually(async () => expect(await sh('cat /home/user/asked/same.txt')).toBe('newer'));
    // One that appears between the check and the upload.
    const race = async (route: Route): Promise<void> => {
      await sh('printf theirs >/home/user/asked/raced.txt');
      await route.continue();
    };
    await page.route('**/files?path=*raced.txt', race, { times: 1 });
    await upload(['raced.txt', 'mine']);
    await transfers().getByText('A file with this name was created in the meantime.').waitFor();
    expect(await sh('cat /home/user/asked/raced.txt')).toBe('theirs');
    await click('Replace raced.txt');
    await eventually(async () => expect(await sh('cat /home/user/asked/raced.txt')).toBe('mine'));
  });

  it('must be uploaded with their progress, which can be cancelled, tried again, and is not lost by accident', async () => {
    await folder('slow', 'touch here');
    const session = await page.context().newCDPSession(page);
    const network = { offline: false, latency: 0, downloadThroughput: -1 };
    await session.send('Network.enable');
    await session.send('Network.emulateNetworkConditions', { ...network, uploadThroughput: 100_000 });
    await upload(['large.bin', Buffer.alloc(4_000_000, 1)]);
    await transfers()
      .getByText(/^[\d.]+ [KM]B of 3\.8 MB · \d+% · [\d.]+ [KM]?B\/s/)
      .waitFor();
    // The transfer goes on while another page is open, and leaving the console asks first.
    await page.getByRole('link', { name: 'Events', exact: true }).first().click();
    await page.getByRole('heading', { name: 'Events' }).waitFor();
    const asked = new Promise<string>((resolve) => {
      page.once('dialog', (shown) => {
        resolve(shown.type());
        void shown.dismiss();
      });
    });
    await page.evaluate('setTimeout(() => location.reload())');
    expect(await asked).toBe('beforeunload');
    await click('Cancel large.bin');
    await transfers().getByText('Cancelled').waitFor();
    expect(await sh('ls /home/user/slow')).toBe('here\n');
    await session.send('Network.emulateNetworkConditions', { ...network, uploadThroughput: -1 });
    await session.detach();
    await click('Retry large.bin');
    await transfers().getByText('Uploaded · 3.8 MB').waitFor();
    expect(await sh('wc -c </home/user/slow/large.bin')).toMatch(/^\s*4000000\s*$/);
  });

  it('must be edited with numbers, search and colours, and saved with their own line breaks', async () => {
    await folder('edited', `printf 'def f():\\r\\n    return "x"\\r\\n' >main.py`);
    await click('main.py');
    const content = page.getByLabel('Content of main.py');
    await page.getByText('Python', { exact: true }).waitFor();
    const colours = await page.evaluate(
      `new Set([...document.querySelectorAll('.cm-line span')].map((span) => getComputedStyle(span).color)).size`,
    );
    expect(colours).toBeGreaterThan(1);
    expect(await page.locator('.cm-lineNumbers .cm-gutterElement').last().innerText()).toBe('3');
    await page.keyboard.press('Control+f');
    await page.getByRole('textbox', { name: 'Find' }).pressSequentially('return');
    await page.locator('.cm-searchMatch').waitFor();
    expect(await browser.faultsOf(page)).toEqual([]);
    await page.keyboard.press('Escape');
    await content.click();
    await page.keyboard.press('Control+End');
    await page.keyboard.type('x = 1\n');
    await page.getByText('· not saved').waitFor();
    await page.keyboard.press('Control+s');
    await page.getByText('main.py was saved.').waitFor();
    expect(await sh('cat /home/user/edited/main.py')).toBe('def f():\r\n    return "x"\r\nx = 1\r\n');
    // Out by the keyboard.
    await page.keyboard.press('Escape');
    await page.keyboard.press('Tab');
    expect(await page.evaluate(`document.activeElement.closest('.cm-editor')`)).toBeNull();
  });

  it('must not be saved over what another program wrote, and not be lost by leaving the page', async () => {
    const content = page.getByLabel('Content of main.py');
    await content.click();
    await page.keyboard.press('Control+Home');
    await page.keyboard.type('# mine\n');
    await sh('printf theirs >/home/user/edited/main.py');
    await click('Save');
    await dialog().getByText('It was changed by another program').waitFor();
    await dialog().getByRole('button', { name: 'Cancel' }).click();
    expect(await sh('cat /home/user/edited/main.py')).toBe('theirs');
    await page.getByRole('navigation', { name: 'once' }).getByRole('link', { name: 'Events' }).click();
    await page.getByRole('navigation', { name: 'once' }).getByRole('link', { name: 'Files' }).click();
    await click('Open main.py');
    await content.getByText('# mine').waitFor();
    await click('Save');
    await dialog().getByRole('button', { name: 'Reload' }).click();
    await content.getByText('theirs').waitFor();
    await page.getByText('· not saved').waitFor({ state: 'detached' });
    await content.click();
    await page.keyboard.press('Control+z');
    await content.getByText('# mine').waitFor();
    await click('Save');
    await page.getByText('main.py was saved.').last().waitFor();
    // The message may be that of an earlier save.
    await eventually(async () => expect(await sh('head -c 6 /home/user/edited/main.py')).toBe('# mine'));
    await click('Close');
  });

  it('must be dragged out of the page, as what the browser can save by itself, and not be taken for an upload', async () => {
    await folder('out', `mkdir sub && printf dragged >'a: b.txt' && ln -s 'a: b.txt' link && touch other`);
    const draggable = page.locator('.files tbody td[draggable="true"]');
    expect((await draggable.locator('.linklike').allInnerTexts()).sort()).toEqual(['a: b.txt', 'link', 'other']);
    // What the page gives to its drags, and whether it would take them itself.
    await page.evaluate(`globalThis.drags = [];
      addEventListener('dragstart', (event) => {
        const { dataTransfer, defaultPrevented } = event;
        drags.push({
          url: dataTransfer.getData('DownloadURL'), effect: dataTransfer.effectAllowed, isPrevented: defaultPrevented,
        });
      });
      addEventListener('dragover', ({ defaultPrevented }) => { drags.at(-1).isTaken ||= defaultPrevented; });`);
    const dragged = (): Promise<{ url: string; effect: string; isPrevented: boolean; isTaken?: boolean }[]> =>
      page.evaluate('drags');
    const at = async (name: string): Promise<{ x: number; y: number }> => {
      const box = await page.getByRole('button', { name, exact: true }).boundingBox();
      if (!box) throw new Error(`${name} is not there`);
      return { x: box.x + 10, y: box.y + box.height / 2 };
    };
    const linked = page.waitForResponse(/\/files\/links/);
    const from = await at('a: b.txt');
    await page.mouse.move(from.x, from.y);
    await page.mouse.down();
    await (await linked).finished();
    await page.mouse.move(from.x + 40, from.y + 60, { steps: 8 });
    await page.mouse.up();
    const [drag] = await dragged();
    const [, type, name, url = ''] = /^([^:]+):([^:]+):(http.+)$/.exec(drag?.url ?? '') ?? [];
    expect([type, name, drag]).toEqual([
      'application/octet-stream',
      'a_ b.txt',
      { url: expect.any(String), effect: 'copy', isPrevented: false, isTaken: false },
    ]);
    const answer = await fetch(url);
    expect([answer.status, await answer.text()]).toEqual([200, 'dragged']);
    expect(answer.headers.get('content-disposition')).toBe('attachment; filename="a: b.txt"');
    // One without a link in time does not begin.
    await page.route('**/files/links*', (route) => route.abort());
    const other = await at('other');
    await page.mouse.move(other.x, other.y);
    await page.mouse.down();
    await page.mouse.move(other.x + 40, other.y + 60, { steps: 8 });
    await page.mouse.up();
    await page.unroute('**/files/links*');
    expect((await dragged()).slice(1)).toEqual([expect.objectContaining({ url: '', isPrevented: true })]);
    expect(await sh('ls /home/user/out')).toBe('a: b.txt\nlink\nother\nsub\n');
    expect(await page.locator('.dropping, .error').count()).toBe(0);
    expect(await selected()).toEqual([]);
    // Clicks are still what they were.
    await page.getByRole('button', { name: 'other', exact: true }).click({ modifiers: ['Control'] });
    expect(await selected()).toEqual(['other']);
    await page.getByLabel('Select other', { exact: true }).uncheck();
    await click('a: b.txt');
    await page.getByLabel('Content of a: b.txt').getByText('dragged').waitFor();
    await click('Close');
  });

  it('must be shown as images, in which no script runs', async () => {
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>top.ran = true</script></svg>`;
    await folder('shown', `printf '%s' '${svg}' >a.svg && printf no >bad.gif`);
    await upload(['dot.png', Buffer.from(PNG, 'base64')]);
    await click('dot.png');
    await page.getByText('2 × 1').waitFor();
    await click('Close');
    await eventually(async () => expect(await page.evaluate('document.activeElement.textContent')).toBe('dot.png'));
    await click('a.svg');
    const width = `document.querySelector('img[alt="a.svg"]').naturalWidth`;
    await eventually(async () => expect(await page.evaluate(width)).toBe(9));
    expect(await page.evaluate('globalThis.ran')).toBeUndefined();
    await click('Edit as text');
    await page.getByLabel('Content of a.svg').getByText('top.ran').waitFor();
    await click('Close');
    await click('bad.gif');
    await page.getByText('The browser cannot show this image').waitFor();
    await click('Close');
  });

  it('must be shown as PDFs in the viewer of the browser, or be said to need one', async () => {
    await upload(['paper.pdf', Buffer.from('%PDF-1.4 a paper')]);
    await click('paper.pdf');
    await page.getByText('This browser cannot show PDFs').waitFor();
    await click('Close');
    // The browser of the tests has no viewer: it is seen that one would be given the file.
    await page.evaluate(`Object.defineProperty(navigator, 'pdfViewerEnabled', { value: true, configurable: true })`);
    await click('paper.pdf');
    await page.getByText('/shown/paper.pdf · 16 B').waitFor();
    expect(await page.locator('iframe[title="paper.pdf"]').getAttribute('src')).toMatch(/^blob:/);
    await click('Close');
    await page.evaluate('delete navigator.pdfViewerEnabled');
  });

  it('must have all that can be done with them on a phone too, without a finding of axe in either theme', async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      await page.getByLabel('Select all').check();
      await page.getByLabel('Sort by').selectOption('Largest first');
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360);
      expect(await browser.faultsOf(page)).toEqual([]);
      await page.getByLabel('Select all').uncheck();
      await click('dot.png');
      await page.getByText('2 × 1').waitFor();
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360);
      expect(await browser.faultsOf(page)).toEqual([]);
      await page.goto(`/containers/${id}#files/home/user/edited`);
      await click('main.py');
      await page.getByText('Python', { exact: true }).waitFor();
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360);
      expect(await browser.faultsOf(page)).toEqual([]);
      await page.goto(`/containers/${id}#files/home/user/shown`);
      await page.getByRole('button', { name: 'dot.png', exact: true }).waitFor();
    }
  });

  it('must have been without a complaint of the browser', () => {
    expect(browser.complaints).toEqual([]);
  });
});

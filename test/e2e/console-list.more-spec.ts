import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Page } from 'playwright-core';
import { DataSource } from 'typeorm';
import { ContainerEntity } from '../../src/containers/model/container.entity';
import { DEFAULT_TIERS } from '../../src/tiers/tier-table';
import { testImage } from '../support/clients/api-client';
import { ConsoleBrowser } from '../support/clients/console-browser';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';
import { Berth, type TestUser } from '../support/servers/berth';

jest.setTimeout(180_000);

/** Several times as many as are drawn at first. */
const MANY = 150;
const NAMES = ['one', 'two', 'three', 'four'];

const folder = mkdtempSync(join(tmpdir(), 'berth-console-list-'));
let engine: FakeEngine;
let berth: Berth;
let browser: ConsoleBrowser;
let page: Page;

beforeAll(async () => {
  const TIERS_FILE = join(folder, 'tiers.json');
  const many = Object.assign({}, DEFAULT_TIERS.tiers['enterprise'], { containers: MANY + 10 });
  writeFileSync(TIERS_FILE, JSON.stringify({ ...DEFAULT_TIERS, tiers: { ...DEFAULT_TIERS.tiers, many } }));
  engine = new FakeEngine();
  berth = await Berth.start({ engine, environment: { TIERS_FILE, VOLUME_COPY_IMAGE: testImage() } });
  browser = await ConsoleBrowser.launch(berth.url);
});

afterEach(async () => {
  engine.forget();
  await page.context().close();
});

afterAll(async () => {
  await browser.close();
  await berth.stop();
  rmSync(folder, { recursive: true });
  expect(browser.complaints).toEqual([]);
});

async function open(user: TestUser, options: Parameters<ConsoleBrowser['context']>[0] = {}): Promise<void> {
  page = await browser.signedIn(user, await browser.context({ reducedMotion: 'reduce', ...options }));
}

/** A user with a running container of each name, the last one the newest. */
async function owner(names: readonly string[], scopes?: Parameters<Berth['user']>[1]): Promise<TestUser> {
  const user = await berth.user('enterprise', scopes);
  for (const name of names) await user.api.running({ name });
  return user;
}

/** A user with more containers than are drawn at first. They are written to the database: creations take too long. */
async function ownerOfMany(): Promise<TestUser> {
  const user = await berth.user('many');
  const { db_id } = await user.api.running({ name: 'first' });
  const rows = berth.app.get(DataSource).getRepository(ContainerEntity);
  const made = await rows.findOneByOrFail({ id: db_id });
  const others = Array.from({ length: MANY }, (_, at) => {
    const id = randomUUID();
    return Object.assign({}, made, {
      id,
      name: `n${String(at).padStart(3, '0')}`,
      labels: { team: 'core' },
      engineId: null,
      volumeName: `berth-${id}`,
      status: 'stopped',
      createdAt: new Date(made.createdAt.getTime() - (at + 1) * 1000),
    });
  });
  await rows.insert(others);
  return user;
}

const row = (name: string) =>
  page.getByRole('row').filter({ has: page.getByRole('link', { name, exact: true, includeHidden: true }) });

const click = (name: string | RegExp): Promise<void> =>
  page.getByRole('button', { name, exact: typeof name === 'string' }).click();

const check = (name: string, options: { modifiers?: 'Shift'[] } = {}): Promise<void> =>
  page.getByRole('checkbox', { name: `Select ${name}`, exact: true }).click(options);

const names = (): Promise<string[]> => page.locator('tbody a.name').allInnerTexts();

const says = (text: string): Promise<void> => page.getByText(text).first().waitFor();

const lists = (expected: readonly string[]): Promise<void> =>
  eventually(async () => expect(await names()).toEqual(expected));

const query = (): string => new URL(page.url()).search;

const pages = (name: RegExp) => page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name });

describe('its order', () => {
  it('must follow a click on the head of a column, and be in the address', async () => {
    const user = await owner(['n10', 'n2', 'm1']);
    await user.api.stop((await user.api.running({ name: 'z' })).db_id);
    await open(user);
    const head = (name: string) => page.getByRole('columnheader', { name, exact: true });
    await lists(['z', 'm1', 'n2', 'n10']);
    expect(await head('Created').getAttribute('aria-sort')).toBe('descending');
    await click('Name');
    await lists(['m1', 'n2', 'n10', 'z']);
    expect(await head('Name').getAttribute('aria-sort')).toBe('ascending');
    expect(await head('Created').getAttribute('aria-sort')).toBe('none');
    await click('Name');
    await lists(['z', 'n10', 'n2', 'm1']);
    await eventually(() => expect(query()).toBe('?sort=-name'));
    await page.reload();
    await lists(['z', 'n10', 'n2', 'm1']);
    await click('Status');
    await lists(['m1', 'n2', 'n10', 'z']);
    await click('Created');
    await lists(['z', 'm1', 'n2', 'n10']);
    await eventually(() => expect(query()).toBe(''));
    await click('Created');
    await lists(['n10', 'n2', 'm1', 'z']);
  });

  it('must put the container first that was used last', async () => {
    const user = await owner(['a', 'b']);
    await open(user);
    await click('Last used');
    await lists(['b', 'a']);
    const id = await row('a').getAttribute('data-id');
    await eventually(
      async () => {
        await user.api.call('POST', `/api/containers/${String(id)}/touch`);
        await page.reload();
        // The rows may come in the order of before, until the list has been read.
        await eventually(async () => expect(await names()).toEqual(['a', 'b']), { timeoutMs: 20_000 });
      },
      { timeoutMs: 80_000 },
    );
  });
});

describe('its filter, order and scroll position', () => {
  const position = (): Promise<number> => page.evaluate<number>('scrollY');

  it('must be restored by Back, by a reload, and by the link to the list', async () => {
    await open(await ownerOfMany());
    await page.getByLabel('Filter by name').fill('team:core');
    await click(/^Stopped/);
    await click('Name');
    await eventually(() => expect(query()).toBe('?q=team%3Acore&status=stopped&sort=name'));
    const link = page.getByRole('link', { name: 'n130', exact: true });
    await eventually(async () => {
      await page.mouse.move(600, 400);
      await page.mouse.wheel(0, 3000);
      expect(await link.count()).toBe(1);
    });
    await link.scrollIntoViewIfNeeded();
    const before = await position();
    expect(before).toBeGreaterThan(3000);

    const isRestored = async (): Promise<void> =>
      eventually(async () => {
        expect(Math.abs((await position()) - before)).toBeLessThan(3);
        expect(query()).toBe('?q=team%3Acore&status=stopped&sort=name');
        expect(await page.getByLabel('Filter by name').inputValue()).toBe('team:core');
      });
    const enter = async (): Promise<void> => {
      await link.click();
      await page.getByRole('heading', { name: 'n130', exact: true }).waitFor();
    };
    await enter();
    await page.goBack();
    await isRestored();
    expect(await page.evaluate('document.activeElement.textContent')).toBe('n130');
    await page.reload();
    await isRestored();
    await enter();
    await page.reload();
    await page.goBack();
    await isRestored();
    await enter();
    await pages(/^Containers/).click();
    await isRestored();
    await pages(/^Containers/).click();
    await eventually(async () => expect(await page.getByLabel('Filter by name').inputValue()).toBe(''));
  });

  it('must be restored also if the page was left in the middle of typing', async () => {
    await open(await owner(['red', 'blue']));
    await page.getByLabel('Filter by name').fill('blu');
    await page.getByRole('link', { name: 'blue', exact: true }).click();
    await page.getByRole('heading', { name: 'blue', exact: true }).waitFor();
    await page.goBack();
    await lists(['blue']);
    await eventually(() => expect(query()).toBe('?q=blu'));
  });
});

describe('an empty list', () => {
  it('shows three ways to a first container, of which two are copied and work as they are', async () => {
    const user = await berth.user('enterprise');
    await open(user, { permissions: ['clipboard-read', 'clipboard-write'] });
    await page.getByRole('heading', { name: 'No containers yet' }).waitFor();
    await page.getByRole('link', { name: 'Create your first container' }).waitFor();
    const copied = async (what: string): Promise<string> => {
      await page.getByRole('button', { name: `Copy: ${what}` }).click();
      await page.getByText(`${what} copied.`).waitFor();
      return page.evaluate('navigator.clipboard.readText()');
    };
    expect(await copied('Commands')).toBe(
      [`npx berth login ${berth.url}`, 'npx berth create --name dev', 'npx berth sh dev'].join(' &&\n'),
    );
    const request = await copied('Request');
    expect(request).toContain('Bearer $BERTH_TOKEN');
    expect(await browser.faultsOf(page)).toEqual([]);
    await page.setViewportSize({ width: 390, height: 800 });
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390);
    const environment = { ...process.env, BERTH_TOKEN: user.token };
    const { stdout } = await promisify(execFile)('sh', ['-c', request], { env: environment });
    expect(JSON.parse(stdout)).toMatchObject({ name: 'dev' });
    await row('dev').waitFor();
  });

  it('offers none of them without the right to create', async () => {
    const { token } = await berth.user('pro', ['read']);
    page = await (await browser.context()).newPage();
    await page.goto('/');
    await page.getByLabel('Token').fill(token);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'No containers yet' }).waitFor();
    expect(await page.getByRole('button', { name: /^Copy/ }).count()).toBe(0);
  });
});

describe('a selection', () => {
  it('must be stopped, restarted, deleted and restored at once, with the names and reasons of failures', async () => {
    const user = await owner(NAMES);
    await open(user);
    await check('one');
    await says('1 selected');
    await check('four', { modifiers: ['Shift'] });
    await says('4 selected');
    const broken = (await user.api.get(String(await row('three').getAttribute('data-id')))).body['id'];
    engine.failOn('containers.stop', { times: 100, on: (id) => id === broken });
    await click('Stop 4 containers');
    const alert = page.getByRole('alert');
    await alert.getByText('3 of 4 containers stopped. 1 container failed:').waitFor();
    await alert.getByText('“three”: Docker is not responding on the server.').waitFor();
    for (const name of ['one', 'two', 'four']) await row(name).getByText('Stopped').waitFor();
    expect(await browser.faultsOf(page)).toEqual([]);
    engine.forget();

    await click('Select it');
    await says('1 selected');
    await click('Restart 1 container');
    await says('1 container restarted.');
    await row('three').getByText('Running').waitFor();

    await page.getByRole('checkbox', { name: 'Select all shown' }).click();
    await says('4 selected');
    await click('Delete 4 containers');
    await page.getByRole('dialog').getByText('“four”, “three”, “two”, “one”.').waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await says('4 containers deleted.');
    await says('No containers yet');
    await click('Undo');
    await says('4 containers restored.');
    await row('three').getByText('Running').waitFor();
    await row('one').getByText('Stopped').waitFor();
    expect(await page.getByText('selected').count()).toBe(0);
  });

  it('must be given labels, and rid of them', async () => {
    await open(await owner(NAMES));
    await page.getByLabel('Filter by name').fill('three');
    await page.getByRole('checkbox', { name: 'Select all shown' }).click();
    await says('1 selected');
    await page.getByLabel('Filter by name').fill('four');
    await says('(1 hidden by the filter)');
    await check('four');
    await says('2 selected');
    await page.getByLabel('Filter by name').fill('');
    await click('Labels 2 containers');
    await page.getByLabel('Labels to set').fill('team=core\nseen');
    await click('Save');
    await says('2 containers labelled.');
    for (const name of ['three', 'four']) await row(name).getByText('team: core').waitFor();
    await click('Labels 2 containers');
    await page.getByRole('dialog').getByLabel('team (2)').check();
    expect(await browser.faultsOf(page)).toEqual([]);
    await click('Save');
    await page.getByText('team: core').first().waitFor({ state: 'detached' });
    for (const name of ['three', 'four']) await row(name).getByText('seen', { exact: true }).waitFor();
    expect(await row('one').locator('.chip').count()).toBe(0);
  });

  it('must survive what happens to its containers, and lose those that are deleted', async () => {
    const user = await owner(NAMES);
    await open(user);
    const id = async (name: string): Promise<string> => String(await row(name).getAttribute('data-id'));
    await check('one');
    await check('two');
    await user.api.stop(await id('one'));
    await row('one').getByText('Stopped').waitFor();
    await says('2 selected');
    expect(await page.getByRole('checkbox', { name: 'Select one', exact: true }).isChecked()).toBe(true);
    await user.api.delete(await id('two'));
    await says('1 selected');
    await click('Clear');
    await page.getByText('selected').waitFor({ state: 'detached' });
  });
});

describe('a row', () => {
  it('must lead to the terminal and to the previews by one click, and be used by the keyboard', async () => {
    await open(await owner(NAMES));
    await row('two').getByRole('link', { name: 'Terminal of two' }).click();
    await page.getByRole('navigation', { name: 'two' }).waitFor();
    expect(new URL(page.url()).hash).toBe('#terminal');
    await page.goBack();
    await row('two').getByRole('link', { name: 'Ports of two' }).click();
    await page.getByRole('navigation', { name: 'two' }).waitFor();
    expect(new URL(page.url()).hash).toBe('#ports');
    await page.goBack();

    await page.getByRole('button', { name: 'Name', exact: true }).focus();
    await page.keyboard.press('Enter');
    await lists(['four', 'one', 'three', 'two']);
    await page.getByRole('checkbox', { name: 'Select four', exact: true }).focus();
    await page.keyboard.press('Space');
    await page.getByRole('checkbox', { name: 'Select three', exact: true }).focus();
    await page.keyboard.press('Shift+Space');
    await says('3 selected');
    await row('two').getByRole('button', { name: 'More for two' }).focus();
    await page.keyboard.press('Enter');
    await page.keyboard.press('ArrowDown');
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Pause');
    await page.keyboard.press('Escape');
    expect(await page.evaluate('document.activeElement.getAttribute("aria-label")')).toBe('More for two');
  });

  it('must show CPU and memory of the last minutes, read by one stream of the running rows in view', async () => {
    const user = await owner(NAMES);
    const asked: string[][] = [];
    await open(user);
    page.on('request', (request) => {
      const { pathname, searchParams } = new URL(request.url());
      if (pathname === '/api/stats/stream') asked.push(searchParams.get('ids')?.split(',') ?? []);
    });
    await page.reload();
    for (const name of NAMES)
      await row(name).locator('.usage-line path[d^="M"]').first().waitFor({ state: 'attached' });
    expect(asked.map((ids) => ids.length)).toEqual([4]);
    const id = String(await row('one').getAttribute('data-id'));
    await user.api.stop(id);
    await eventually(() => expect(asked.at(-1)).toHaveLength(3));
    expect(asked.at(-1)).not.toContain(id);
    expect(await row('one').locator('.usage-line').count()).toBe(0);
    const count = asked.length;
    await pages(/^Events/).click();
    await page.getByRole('heading', { name: 'Events', exact: true }).waitFor();
    await page.goBack();
    // The last minutes are still there, before a new sample.
    await row('two').locator('.usage-line path[d*="L"]').first().waitFor({ state: 'attached' });
    await eventually(() => expect(asked).toHaveLength(count + 1));
  });

  it('must show none of that, nor ask for it, to a token that may not see inside', async () => {
    const user = await owner(['one'], ['read', 'write']);
    const asked: string[] = [];
    await open(user);
    page.on('request', (request) => asked.push(new URL(request.url()).pathname));
    await page.reload();
    await row('one').getByText('Running').waitFor();
    await page.getByText('CPU, memory').waitFor({ state: 'detached' });
    expect(await row('one').getByRole('link').allInnerTexts()).toEqual(['one']);
    expect(asked).not.toContain('/api/stats/stream');
  });
});

describe('on a narrow screen', () => {
  it.each([360, 820])('must be cards that can be sorted and selected, %i pixels wide', async (width) => {
    await open(await owner(NAMES), { viewport: { width, height: 740 } });
    expect(await page.getByRole('columnheader').count()).toBe(0);
    const [name, actions] = [row('one').locator('.name-cell'), row('one').locator('.actions-cell')];
    const [above, below] = [await name.boundingBox(), await actions.boundingBox()];
    expect(below?.y).toBeGreaterThanOrEqual((above?.y ?? 0) + (above?.height ?? 0));
    await page.getByLabel('Sort by').selectOption('Name');
    await lists(['four', 'one', 'three', 'two']);
    await click('Ascending');
    await lists(['two', 'three', 'one', 'four']);
    await page.getByRole('checkbox', { name: 'Select all shown' }).click();
    await says('4 selected');
    expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBe(0);
    const bar = await page.getByRole('region', { name: 'Selected containers' }).boundingBox();
    expect(bar?.x).toBeGreaterThanOrEqual(0);
    expect((bar?.x ?? 0) + (bar?.width ?? 0)).toBeLessThanOrEqual(width);
    expect(await browser.faultsOf(page)).toEqual([]);
  });
});

import type { BrowserContext, Locator, Page } from 'playwright-core';
import { testImage } from '../support/clients/api-client';
import { ConsoleBrowser } from '../support/clients/console-browser';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';
import { Berth, type NewUser } from '../support/servers/berth';

jest.setTimeout(240_000);

let engine: FakeEngine;
let berth: Berth;
let browser: ConsoleBrowser;
let user: NewUser;
let context: BrowserContext;
let page: Page;

beforeAll(async () => {
  engine = new FakeEngine();
  engine.daemon.images.add('berth/sandbox:latest');
  engine.daemon.registry.add('ubuntu:24.04');
  berth = await Berth.start({ engine });
  browser = await ConsoleBrowser.launch(berth.url);
});

afterAll(async () => {
  await browser.close();
  await berth.stop();
});

beforeEach(async () => {
  user = await berth.user('free');
  context = await browser.context({ reducedMotion: 'reduce' });
  page = await browser.signedIn(user, context);
});

afterEach(async () => {
  engine.forget();
  await context.close();
});

const field = (label: string): Locator => page.getByLabel(label, { exact: true });
const radio = (name: string): Locator => page.getByRole('radio', { name, exact: true });
const create = (): Locator => page.getByRole('button', { name: 'Create', exact: true });
const says = (text: string): Promise<void> => page.getByText(text).first().waitFor();

async function open(query = ''): Promise<void> {
  await page.goto(`/new${query}`);
  await page.getByRole('heading', { name: 'Start from', exact: true }).waitFor();
}

const openMore = (): Promise<void> => page.getByText('More: labels').click();

/** What was created by this name, as the page of the container says that it runs. */
async function created(name: string): Promise<Record<string, unknown>> {
  await page.getByRole('heading', { name, exact: true }).waitFor();
  await page.locator('.page-head').getByText('Running').waitFor();
  return (await user.api.get(new URL(page.url()).pathname.split('/').at(-1) ?? '')).body;
}

const containers = async (): Promise<unknown[]> =>
  (await user.api.call('GET', '/api/containers')).body['containers'] as unknown[];

/** Which fields are marked, and whether each is described by what is wrong with it. */
async function marked(): Promise<Record<string, string>> {
  return page.evaluate(`Object.fromEntries([...document.querySelectorAll('[aria-invalid="true"]')].map((each) =>
    [each.name ?? each.getAttribute('role'), document.getElementById(each.getAttribute('aria-describedby')).innerText]))`);
}

async function paste(target: Locator, text: string): Promise<void> {
  await target.focus();
  await page.evaluate(`{
    const clipboardData = new DataTransfer();
    clipboardData.setData('text/plain', ${JSON.stringify(text)});
    document.activeElement.dispatchEvent(
      new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
  }`);
}

it('must offer the sizes of the tier, take others in units that people write, and show the container as it begins', async () => {
  await page.getByRole('link', { name: 'Create your first container' }).click();
  await radio('Small').waitFor();
  expect(await radio('Small').isChecked()).toBe(true);
  expect(await radio('Large').count()).toBe(0);
  await radio('Medium').check();
  const suggested = await field('Name').inputValue();
  expect(suggested).toMatch(/^[a-z]+-[a-z]+-\d+$/);
  await page.getByRole('button', { name: 'Suggest another' }).click();
  expect(await field('Name').inputValue()).not.toBe(suggested);
  await field('Name').fill('sized');
  await create().click();
  const { resources } = await created('sized');
  expect(resources).toEqual({ memory_mb: 2048, cpu_shares: 2000, disk_mb: 10_240 });

  await open();
  await field('Name').fill('exact');
  await radio('Custom').check();
  await field('Memory (GB)').fill('700 MB');
  await field('CPUs').fill('0.333');
  await field('Disk (GB)').fill('1.5');
  await openMore();
  await field('Idle timeout').fill('1 h 30 min');
  await field('Delete when stopped for').fill('7 d');
  await create().click();
  expect(await created('exact')).toMatchObject({
    resources: { memory_mb: 700, cpu_shares: 333, disk_mb: 1536 },
    auto_stop_seconds: 5400,
    auto_delete_seconds: 604_800,
  });
});

it('must say all that is wrong at once, each at its field, and keep everything that was entered', async () => {
  await user.api.running({ name: 'here' });
  await open();
  await field('Name').fill('here');
  await radio('Custom').check();
  await field('Memory (GB)').fill('0.1');
  await field('CPUs').fill('64');
  await openMore();
  await page.getByRole('button', { name: 'Add a label' }).click();
  await field('Name of label 1').fill('Team');
  await field('Name of variable 1').fill('1ST');
  await field('Start command').fill('echo "open');
  // Opens again by itself, as there are faults in it.
  await openMore();
  await create().click();
  await eventually(async () => expect(Object.keys(await marked())).toHaveLength(6));
  expect(Object.values(await marked())).toEqual([
    'You already have a container with this name.',
    '0.1 is between 102 and 103 MB. Enter a whole number of them.',
    'Your tier allows 0.25 CPU to 2 CPU.',
    'Use 1–63 characters: a-z, 0-9 or . _ / -',
    'Use letters, digits and underscores. Do not start with a digit.',
    'A quotation mark is not closed.',
  ]);
  expect(await page.getByRole('alert').getByRole('listitem').count()).toBe(6);
  expect(await page.evaluate('document.activeElement.name')).toBe('name');
  await page.getByRole('alert').getByRole('button', { name: 'Start command' }).click();
  expect(await page.evaluate('document.activeElement.name')).toBe('start');
  expect(await browser.faultsOf(page)).toEqual([]);

  await field('Name').fill('kept');
  await field('Memory (GB)').fill('0.5');
  await field('CPUs').fill('0.5');
  await field('Name of label 1').fill('team');
  await field('Name of variable 1').fill('FIRST');
  await field('Start command').fill('echo open');
  await page.getByRole('alert').waitFor({ state: 'detached' });
  // What only the server finds is shown at its field as well.
  await radio('Another image').check();
  await field('Image reference').fill('localhost/own:1');
  await create().click();
  await eventually(async () =>
    expect(await marked()).toEqual({ custom_image: expect.stringContaining('Must not come from localhost') }),
  );
  expect(await page.evaluate('document.activeElement.name')).toBe('custom_image');
  await radio('ubuntu').check();
  await create().click();
  expect(await created('kept')).toMatchObject({
    resources: { memory_mb: 512, cpu_shares: 500 },
    labels: { team: '' },
    start: { command: ['echo', 'open'] },
  });
});

it.each(['free', 'pro', 'enterprise'])(
  'fits one screen at 1,024 by 768 pixels, the rest behind “More”: %s',
  async (tier) => {
    await context.close();
    context = await browser.context({ reducedMotion: 'reduce', viewport: { width: 1024, height: 768 } });
    page = await browser.signedIn(await berth.user(tier), context);
    await open();
    await radio('Custom').waitFor();
    expect(await page.evaluate('document.documentElement.scrollHeight')).toBe(768);
    expect(await field('Start command').isVisible()).toBe(false);
    const overlap = `{
    const bar = document.querySelector('.create-bar').getBoundingClientRect();
    [...document.querySelectorAll('.create-main :is(input, button, summary)')].filter(
      (each) => each.checkVisibility() && each.getBoundingClientRect().bottom > bar.top).map((each) => each.outerHTML)
  }`;
    expect(await page.evaluate(overlap)).toEqual([]);
    expect(await browser.faultsOf(page)).toEqual([]);
  },
);

it('keeps “Create” at the lower edge of the window, with every field above it', async () => {
  await open('?start=serve');
  const edge = async (): Promise<number> => {
    const box = await create().boundingBox();
    return (box?.y ?? 0) + (box?.height ?? 0);
  };
  for (const viewport of [
    { width: 1280, height: 720 },
    { width: 390, height: 740 },
  ]) {
    await page.setViewportSize(viewport);
    // A value of the link is behind “More”, which is open then.
    await field('Start command').waitFor();
    for (const top of [0, 200]) {
      await page.evaluate(`scrollTo(0, ${String(top)})`);
      await eventually(async () => expect(await edge()).toBeGreaterThan(viewport.height - 60));
      expect(await edge()).toBeLessThanOrEqual(viewport.height);
    }
    await field('Name').focus();
    await page.evaluate('scrollTo(0, 0)');
    await field('Start command').focus();
    const box = await field('Start command').boundingBox();
    expect((box?.y ?? 0) + (box?.height ?? 0)).toBeLessThan((await create().boundingBox())?.y ?? 0);
  }
});

it('must keep the form if the server does not answer, and create one container by a second try', async () => {
  await open();
  await field('Name').fill('late');
  await openMore();
  await field('Name of variable 1').fill('KEPT');
  await page.route('**/api/containers', (route) =>
    route.request().method() === 'POST' ? route.abort() : route.continue(),
  );
  await create().click();
  await page.getByRole('alert').getByText('The server is not responding.').waitFor();
  expect(await field('Name of variable 1').inputValue()).toBe('KEPT');
  await page.unroute('**/api/containers');
  await create().click();
  await created('late');
  expect(await containers()).toHaveLength(1);
});

it('pasted .env text must fill rows of variables, of which programs get the values', async () => {
  await open();
  await field('Name').fill('configured');
  await openMore();
  await paste(
    field('Name of variable 1'),
    '# of the app\nexport HOST="db.example"\nPORT=5432 # usual\nnonsense\nKEY=\'line 1\nline 2\'\n',
  );
  await says('3 variables added. Line 4 skipped: not NAME=value.');
  expect(await field('Value of variable 2').inputValue()).toBe('5432');
  await page.getByRole('button', { name: 'Add a variable' }).click();
  await page.keyboard.type('EMPTY');
  await page.getByRole('button', { name: 'Remove PORT' }).click();
  await create().click();
  const { db_id } = await created('configured');
  const environment = new Promise((resolve) => {
    engine.daemon.onExec = ({ env }) => {
      resolve(env);
      return 0;
    };
  });
  await user.api.call('POST', `/api/containers/${String(db_id)}/exec`, { command: ['env'] });
  const got = (await environment) as Record<string, string>;
  expect(got).toMatchObject({ HOST: 'db.example', KEY: 'line 1\nline 2', EMPTY: '' });
  expect(got).not.toHaveProperty('PORT');
});

it('a link must fill in the form, show what is wrong in it, and be made of the form without values of variables', async () => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await open(
    '?image=ubuntu&name=linked&memory=1GB&cpus=0.5&disk=lots&label=team:core&env=TOKEN&network=lan&colour=red',
  );
  await page.getByRole('alert').getByText('unknown parameter “colour”').waitFor();
  expect(Object.keys(await marked())).toEqual(['disk_mb', expect.stringMatching(/^env\.\d+\.value$/), 'network']);
  await field('Disk (GB)').fill('5');
  await field('Value of variable 1').fill('secret');
  await field('Network').selectOption('None');
  expect(await field('Value of label 1').inputValue()).toBe('core');
  await page.getByRole('button', { name: 'Copy link' }).click();
  await says('Link copied without variable values.');
  const link = await page.evaluate<string>('navigator.clipboard.readText()');
  expect(link).toBe(
    `${berth.url}/new?image=ubuntu&name=linked&memory=1GB&cpus=0.5&disk=5GB&network=none&label=team:core&env=TOKEN`,
  );
  await page.goto(link);
  await page.getByRole('alert').getByText('The link does not contain this value. Enter it.').waitFor();
  expect(await browser.faultsOf(page)).toEqual([]);
  await field('Value of variable 1').fill('secret');
  await create().click();
  expect(await created('linked')).toMatchObject({
    resources: { memory_mb: 1024, cpu_shares: 500, disk_mb: 5120 },
    labels: { team: 'core' },
    network: 'none',
  });
});

it('must show what becomes of the limits, and not create beyond them, with the reason', async () => {
  for (const name of ['a', 'b', 'c', 'd']) await user.api.running({ name, memory_mb: 512, disk_mb: 1024 });
  await open();
  await says('4 → 5 of 5');
  await says('2 GB → 3 GB of 10 GB');
  await radio('Nano').check();
  await says('2 GB → 2.25 GB of 10 GB');
  expect(await create().isEnabled()).toBe(true);
  await user.api.running({ name: 'e' });
  await says('Your tier “free” allows 5 containers, and you have 5.');
  expect(await create().isDisabled()).toBe(true);
  await create().focus();
  await page.keyboard.press('Enter');
  expect(await containers()).toHaveLength(5);
  const reader = await berth.user('free', ['read']);
  const other = await (await browser.context()).newPage();
  await other.goto('/new');
  await other.getByLabel('Token').fill(reader.token);
  await other.keyboard.press('Enter');
  await other.getByText('does not have the “write” scope').waitFor();
  await other.context().close();
});

it('must be used by the keyboard alone', async () => {
  await open();
  const press = async (...keys: string[]): Promise<void> => {
    for (const key of keys) await page.keyboard.press(key);
  };
  const active = (): Promise<string> => page.evaluate('document.activeElement.name');
  while ((await active()) !== 'name') await press('Tab');
  await press('Control+a');
  await page.keyboard.type('typed');
  await press('Tab', 'Tab');
  expect(await active()).toBe('source');
  await press('Tab');
  expect(await active()).toBe('size');
  await press('ArrowDown');
  expect(await radio('Medium').isChecked()).toBe(true);
  // Opens what is behind “More”.
  await press('Tab', 'Enter', 'Tab', 'Enter');
  await page.keyboard.type('team');
  await press('Enter');
  await page.keyboard.type('core');
  await press('Enter');
  expect(await page.getByRole('textbox', { name: /^Name of label/ }).count()).toBe(2);
  await press('Backspace');
  expect(await page.getByRole('textbox', { name: /^Name of label/ }).count()).toBe(1);
  await field('Name of variable 1').focus();
  await page.keyboard.type('A');
  await press('Enter');
  await page.keyboard.type('one');
  await press('Shift+Enter');
  await page.keyboard.type('two');
  expect(await field('Value of variable 1').inputValue()).toBe('one\ntwo');
  await press('Control+Enter');
  expect(await created('typed')).toMatchObject({ labels: { team: 'core' }, resources: { memory_mb: 2048 } });
});

it('must fit a phone in both themes, also with all of its sections open and with faults', async () => {
  await page.setViewportSize({ width: 360, height: 740 });
  await open('?custom_image=&name=a-b-&memory=x&allow=y&start=z&label=Bad:label&env=Bad-name=1&colour=red');
  await page.getByRole('alert').waitFor();
  for (const colorScheme of ['dark', 'light'] as const) {
    await page.emulateMedia({ colorScheme });
    await page.evaluate('new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))');
    expect(await browser.faultsOf(page)).toEqual([]);
  }
  for (const width of [320, 360, 760, 1060, 1061, 1440]) {
    await page.setViewportSize({ width, height: 740 });
    const over = 'document.documentElement.scrollWidth - innerWidth';
    await eventually(async () => expect([width, await page.evaluate(over)]).toEqual([width, 0]));
  }
});

it('the settings must have the same units and rows, and change no more than was changed', async () => {
  const { db_id } = await user.api.running({
    name: 'settled',
    labels: { team: 'core', stage: 'dev', kept: '' },
    env: { OLD: 'x', KEPT: 'y' },
  });
  await page.goto(`/containers/${db_id}`);
  await page.getByRole('button', { name: 'Settings' }).click();
  const dialog = page.getByRole('dialog');
  await field('Memory (GB)').fill('0.1');
  await field('Idle timeout').fill('90');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.getByRole('alert').getByText('Memory: 0.1 is between 102 and 103 MB.').waitFor();
  expect(Object.keys(await marked())).toEqual(['memory_mb', 'auto_stop_seconds']);
  expect(await page.evaluate('document.activeElement.name')).toBe('memory_mb');
  await field('Memory (GB)').fill('700 MB');
  await field('Idle timeout').fill('90 min');
  await field('Value of label 2').fill('prod');
  await dialog.getByRole('button', { name: 'Remove team' }).click();
  await page.getByText('Network, variables').click();
  await paste(field('Name of variable 1'), 'NEW=1\nOLD=2');
  await page.getByLabel('Unset OLD').check();
  expect(await browser.faultsOf(page)).toEqual([]);
  await dialog.getByRole('button', { name: 'Save' }).click();
  await dialog.waitFor({ state: 'detached' });
  expect((await user.api.get(db_id)).body).toMatchObject({
    resources: { memory_mb: 700 },
    auto_stop_seconds: 5400,
    labels: { stage: 'prod', kept: '' },
  });
  const environment = new Promise((resolve) => {
    engine.daemon.onExec = ({ env }) => {
      resolve(env);
      return 0;
    };
  });
  await user.api.call('POST', `/api/containers/${db_id}/exec`, { command: ['env'] });
  const got = (await environment) as Record<string, string>;
  expect(got).toMatchObject({ NEW: '1', KEPT: 'y' });
  expect(got).not.toHaveProperty('OLD');
});

it('must find what to start from by a search, and offer own images only where they are allowed', async () => {
  // From here on the image is a template's, and no user's own.
  for (let at = 0; at < 8; at += 1) {
    await (
      await berth.user('pro', ['read', 'admin'])
    ).api.call('PUT', `/api/admin/templates/kit-${String(at)}`, {
      image: testImage(),
      version: '1',
      description: at === 5 ? 'with Rust' : 'plain',
    });
  }
  await open();
  await page.getByLabel('Search images').fill('rust');
  await radio('kit-0').waitFor({ state: 'detached' });
  await radio('kit-5').check();
  expect(await radio('As in the template').isChecked()).toBe(true);
  const closed = await Berth.start({ engine: new FakeEngine(), environment: { CUSTOM_IMAGES: 'deny' } });
  const window = await ConsoleBrowser.launch(closed.url);
  const other = await window.signedIn(await closed.user('free'));
  await other.goto('/new?custom_image=alpine:3.21');
  await other.getByRole('alert').getByText('only allows images from its list').waitFor();
  await other.getByRole('radio', { name: 'ubuntu', exact: true }).check();
  expect(await other.getByRole('radio', { name: 'Another image' }).count()).toBe(0);
  await window.close();
  await closed.stop();
});

it('must have been without a complaint of the browser', () => {
  expect(browser.complaints).toEqual([]);
});

import type { Locator, Page } from 'playwright-core';
import { testImage } from '../support/clients/api-client';
import { ConsoleBrowser } from '../support/clients/console-browser';
import { FakeEngine } from '../support/fakes/fake-engine';
import { Berth, type NewUser } from '../support/servers/berth';

jest.setTimeout(240_000);

const MIB = 2 ** 20;

let engine: FakeEngine;
let berth: Berth;
let browser: ConsoleBrowser;
let admin: NewUser;
let page: Page;

beforeAll(async () => {
  engine = new FakeEngine();
  berth = await Berth.start({ engine, environment: { VOLUME_COPY_IMAGE: testImage() } });
  browser = await ConsoleBrowser.launch(berth.url);
  admin = await berth.user('pro', ['read', 'write', 'exec', 'admin']);
});

afterAll(async () => {
  await browser.close();
  await berth.stop();
});

beforeEach(async () => {
  page = await browser.signedIn(admin, await browser.context({ reducedMotion: 'reduce' }));
});

afterEach(async () => {
  engine.forget();
  await page.context().close();
  const { body } = await admin.api.call('GET', '/api/admin/templates');
  for (const { name } of body['templates'] as { name: string }[]) {
    await admin.api.call('DELETE', `/api/admin/templates/${name}`);
  }
});

const click = (name: string): Promise<void> => page.getByRole('button', { name, exact: true }).click();
const dialog = (): Locator => page.getByRole('dialog');
const radio = (name: string): Locator => page.getByRole('radio', { name, exact: true });
const row = (name: string): Locator => page.getByRole('row').filter({ hasText: name });
const template = async (name: string): Promise<unknown> =>
  (await admin.api.call('GET', `/api/admin/templates/${name}`)).body;

const open = async (): Promise<void> => {
  await page.getByRole('link', { name: 'Templates', exact: true }).click();
  await page.getByRole('heading', { name: 'Templates', exact: true }).waitFor();
};

async function save(action: 'Create' | 'Replace'): Promise<void> {
  await dialog().getByRole('button', { name: action, exact: true }).click();
  await page.getByText(`template ${action === 'Create' ? 'created' : 'replaced'}.`).waitFor();
}

it('a template of an image must be created, shown, replaced with what it had, and deleted', async () => {
  await open();
  await click('Create your first template');
  await dialog().getByLabel('Name').fill('tools');
  await dialog().getByLabel('Version').fill('1.4');
  await dialog().getByLabel('Description').fill('with tools');
  await dialog().getByLabel('Created from').selectOption('Another image…');
  await dialog().getByLabel('Image reference').fill('no-such:1');
  await dialog().getByRole('button', { name: 'Create', exact: true }).click();
  await dialog().getByRole('alert').getByText('Image must be on the machine').waitFor();
  await dialog().getByLabel('Image reference').fill(testImage());
  await dialog().getByLabel('Memory').fill('0.5');
  await dialog().getByLabel('free', { exact: true }).uncheck();
  await dialog().getByText('Role, network, start command').click();
  await dialog().getByLabel('Network').selectOption('None');
  await dialog().getByLabel('Start command').fill('serve --port 80');
  expect(await browser.faultsOf(page)).toEqual([]);
  await save('Create');
  await row('tools').getByText('1.4').waitFor();
  await row('tools').getByText('512 MB · network none · starts serve').waitFor();
  const made = { version: '1.4', image: testImage(), memory_mb: 512, cpu_shares: null, network: 'none', role: null };
  expect(await template('tools')).toMatchObject({
    ...made,
    description: 'with tools',
    start: { command: ['serve', '--port', '80'] },
  });
  expect((await template('tools')) as { tiers: string[] }).not.toMatchObject({
    tiers: expect.arrayContaining(['free']),
  });

  await admin.api.call('PUT', '/api/admin/templates/tools', {
    ...made,
    role: undefined,
    start: { command: ['serve'], ready: { command: ['ready'], within_seconds: 30 } },
  });
  await page.reload();
  await click('Replace tools');
  await dialog().getByText('Containers created from it are not affected.').waitFor();
  expect(await dialog().getByLabel('Image reference').inputValue()).toBe(testImage());
  await dialog().getByLabel('Version').fill('1.5');
  expect(await browser.faultsOf(page)).toEqual([]);
  await save('Replace');
  await row('tools').getByText('1.5').waitFor();
  const start = { command: ['serve'], ready: { command: ['ready'], within_seconds: 30 } };
  expect(await template('tools')).toMatchObject({ ...made, version: '1.5', start, tiers: null });

  await click('More for tools');
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await dialog().getByText('Existing ones are not affected.').waitFor();
  await dialog().getByRole('button', { name: 'Delete' }).click();
  await page.getByText('No templates yet').waitFor();
});

it('a template of a snapshot must be made from the page of snapshots, and creations must begin with its files', async () => {
  const { db_id } = await admin.api.running({ name: 'prepared' });
  engine.daemon.write(`berth-${db_id}`, 'precious', 10 * MIB);
  const made = await admin.api.call('POST', `/api/containers/${db_id}/snapshots`, { name: 'base' });
  const snapshot = String(made.body['id']);
  await admin.api.call('GET', `/api/snapshots/${snapshot}/wait`);
  await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Snapshots', exact: true }).click();
  await click('More for snapshot base');
  await page.getByRole('menuitem', { name: 'Create template' }).click();
  await dialog().getByText('Data and installed software, 10 MB. Its files are copied.').waitFor();
  await dialog().getByLabel('Name').fill('sandbox');
  await dialog().getByLabel('Version').fill('1');
  await dialog().getByLabel('Start with the snapshot’s data').check();
  expect(await browser.faultsOf(page)).toEqual([]);
  await dialog().getByRole('button', { name: 'Create', exact: true }).click();
  await dialog().getByRole('alert').getByText('The catalogue already has an image with this name.').waitFor();
  await dialog().getByLabel('Name').fill('node-tools');
  await dialog().getByLabel('Memory').fill('512 MB');
  await save('Create');
  await row('node-tools').getByText('a snapshot of test, with data').waitFor();
  expect(await browser.faultsOf(page)).toEqual([]);
  expect(await template('node-tools')).toMatchObject({ snapshot, data: true, memory_mb: 512 });
  await admin.api.call('DELETE', `/api/snapshots/${snapshot}`);
  await page.reload();
  await click('Replace node-tools');
  expect(await dialog().getByLabel('Created from').locator('option:checked').innerText()).toBe('Current files');
  await dialog().getByLabel('Version').fill('2');
  await save('Replace');
  await row('node-tools').getByText('2', { exact: true }).waitFor();

  await page.getByRole('link', { name: /^Containers/ }).click();
  await page.getByRole('link', { name: 'New container' }).click();
  await radio('node-tools').check();
  await page.getByText('version 2, with data in /home/user').waitFor();
  expect(await radio('As in the template').isChecked()).toBe(true);
  await radio('Custom').check();
  expect(await page.getByLabel('Memory (GB)').inputValue()).toBe('0.5');
  expect(await page.getByLabel('Disk (GB)').inputValue()).toBe('');
  await page.getByText('More: labels').click();
  expect(await page.getByLabel('Role').locator('option:checked').innerText()).toContain('As in the template');
  expect(await page.getByLabel('Network').locator('option:checked').innerText()).toBe('As in the template');
  expect(await browser.faultsOf(page)).toEqual([]);
  await page.getByLabel('Name', { exact: true }).fill('copy');
  await click('Create');
  await page.getByRole('heading', { name: 'copy', exact: true }).waitFor();
  await page.locator('.page-head').getByText('Running').waitFor();
  await page.getByRole('navigation', { name: 'copy' }).getByRole('link', { name: 'Overview' }).click();
  await page.getByText('version 2').waitFor();
  const copy = new URL(page.url()).pathname.split('/').at(-1) ?? '';
  expect(engine.daemon.volumes.get(`berth-${copy}`)?.content).toBe('precious');
  expect((await admin.api.get(copy)).body).toMatchObject({ resources: { memory_mb: 512 }, network: 'internet' });
});

it('a creation must override what a template says, and go back to an image with the usual sizes', async () => {
  await admin.api.call('PUT', '/api/admin/templates/closed', {
    image: testImage(),
    version: '1',
    network: 'none',
    memory_mb: 512,
  });
  await page.goto('/new');
  await radio('Custom').check();
  const usual = await page.getByLabel('Memory (GB)').inputValue();
  await radio('closed').check();
  await radio('Another image').check();
  await radio('Custom').check();
  expect(await page.getByLabel('Memory (GB)').inputValue()).toBe(usual);
  await radio('closed').check();
  await radio('Custom').check();
  await page.getByLabel('Memory (GB)').fill('0.75');
  await page.getByText('More: labels').click();
  await page.getByLabel('Network').selectOption('Internet');
  await page.getByLabel('Name', { exact: true }).fill('open');
  await click('Create');
  await page.locator('.page-head').getByText('Running').waitFor();
  const { body } = await admin.api.call('GET', '/api/containers');
  const created = (body['containers'] as { name: string }[]).find(({ name }) => name === 'open');
  expect(created).toMatchObject({ network: 'internet', resources: { memory_mb: 768 } });
});

it('must have been without a complaint of the browser', () => {
  expect(browser.complaints).toEqual([]);
});

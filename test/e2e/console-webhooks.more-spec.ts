import type { Locator, Page } from 'playwright-core';
import { Database } from '../../src/database';
import { EventLog } from '../../src/events';
import { ConsoleBrowser } from '../support/clients/console-browser';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';
import { Berth, type NewUser } from '../support/servers/berth';
import { draft } from '../support/servers/events-process';
import { isSignedWith, type Received, WebhookReceiver } from '../support/servers/webhook-receiver';

jest.setTimeout(240_000);

describe('the page of webhooks', () => {
  let berth: Berth;
  let browser: ConsoleBrowser;
  let receiver: WebhookReceiver;
  let user: NewUser;
  let page: Page;

  beforeAll(async () => {
    berth = await Berth.start({ engine: new FakeEngine(), environment: { WEBHOOK_ALLOWED_NETWORKS: 'loopback' } });
    browser = await ConsoleBrowser.launch(berth.url);
  });

  afterAll(async () => {
    await browser.close();
    await berth.stop();
  });

  beforeEach(async () => {
    receiver = await WebhookReceiver.start();
    user = await berth.user('pro', ['read', 'write', 'admin']);
    page = await browser.signedIn(user, await browser.context({ reducedMotion: 'reduce' }));
  });

  afterEach(async () => {
    await page.context().close();
    await receiver.stop();
  });

  const click = (name: string): Promise<void> => page.getByRole('button', { name, exact: true }).first().click();
  const dialog = (): Locator => page.getByRole('dialog');
  const row = (text: string): Locator => page.getByRole('row').filter({ hasText: text });
  const says = (text: string): Promise<void> => page.getByText(text).first().waitFor();
  const open = (name: string): Promise<void> => page.getByRole('link', { name, exact: true }).first().click();
  const host = (): string => new URL(receiver.url).host;

  async function choose(item: string): Promise<void> {
    await click(`More for ${host()}`);
    await page.getByRole('menuitem', { name: item, exact: true }).click();
  }

  async function emit(message: string): Promise<void> {
    const log = berth.app.get(EventLog);
    await berth.app.get(Database).runInTx(() => log.append({ userId: user.id, drafts: [draft(message)] }));
  }

  /** Makes a webhook on the open page. @returns its secret */
  async function made(): Promise<string> {
    await click('New webhook');
    await dialog().getByLabel('URL').fill(receiver.url);
    await dialog().getByLabel('Description').fill('the status page');
    await dialog().getByLabel('Events').fill('container_progress\nwebhook_disabled');
    await click('Create');
    const secret = await dialog().locator('code').textContent();
    await click('Done');
    expect(await page.content()).not.toContain(secret);
    return secret ?? '';
  }

  it.each([
    ['Webhooks', 'of the user'],
    ['Global webhooks', "for everybody's events"],
  ])('%s: must make, test, pause, activate and delete those %s, and show a secret once', async (name) => {
    await open(name);
    await says('No webhooks');
    const secret = await made();
    expect(secret).toMatch(/^whsec_/);
    await row('the status page').getByText('container_progress').waitFor();
    await row('the status page').getByText('Active').waitFor();
    expect(await browser.faultsOf(page)).toEqual([]);
    await click(`Test ${host()}`);
    await says('The test was accepted with 204.');
    const [tested] = receiver.got as [Received];
    expect(isSignedWith(tested, secret)).toBe(true);
    receiver.answer = () => 500;
    await click(`Test ${host()}`);
    await says('The test was not accepted: responded with 500.');
    await choose('Pause');
    await row('the status page').getByText('Paused').waitFor();
    await choose('Activate');
    await row('the status page').getByText('Active').waitFor();
    await choose('Replace secret');
    await click('Replace');
    expect(await dialog().locator('code').textContent()).not.toBe(secret);
    await click('Done');
    await choose('Delete');
    await click('Delete');
    await says('No webhooks');
  });

  it('must show deliveries with what was sent and answered, and send one again', async () => {
    await open('Webhooks');
    await made();
    receiver.answer = (_request, response) => response.writeHead(200).end('thank you');
    await emit('hello');
    await eventually(() => expect(receiver.got).toHaveLength(1));
    await open(receiver.url);
    await row('container_progress').getByText('Delivered').waitFor();
    await row('container_progress').getByText('Message', { exact: true }).click();
    await row('container_progress').getByText('"message": "hello"').waitFor();
    await row('container_progress').getByText('Response body').click();
    await row('container_progress').getByText('thank you').waitFor();
    expect(await browser.faultsOf(page)).toEqual([]);
    await click('Send again: container_progress');
    await says('The message was accepted with 200.');
    expect(receiver.got.map(({ id }) => id)).toEqual([receiver.got[0]?.id, receiver.got[0]?.id]);
    await row('container_progress').getByText('2', { exact: true }).waitFor();
  });

  it('must show that a webhook was disabled, and why, without being loaded again', async () => {
    await open('Webhooks');
    await made();
    receiver.answer = () => 410;
    await emit('hello');
    await row('the status page').getByText('Disabled').waitFor();
    await row('the status page').getByText('its receiver answered that it is gone').waitFor();
    await open('Events');
    await says('Webhook disabled');
  });

  it('must say why a URL is refused', async () => {
    await open('Webhooks');
    await click('New webhook');
    await dialog().getByLabel('URL').fill('https://10.0.0.1/');
    await click('Create');
    await dialog().getByRole('alert').getByText('URL must not point to this address.').waitFor();
    expect(await browser.faultsOf(page)).toEqual([]);
  });
});

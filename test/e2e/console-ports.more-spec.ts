import type { Page } from 'playwright-core';
import { ConsoleBrowser } from '../support/clients/console-browser';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { Berth, type NewUser } from '../support/servers/berth';
import { PreviewApplication } from '../support/servers/preview-application';

jest.setTimeout(240_000);

describe("a container's ports in the console", () => {
  const daemon = new FakeDaemon();
  const application = new PreviewApplication();
  let berth: Berth;
  let browser: ConsoleBrowser;
  let user: NewUser;
  let page: Page;
  let id: string;

  beforeAll(async () => {
    await application.start(daemon);
    berth = await Berth.start({ engine: new FakeEngine(daemon), environment: { PREVIEW_PORT: '0' } });
    browser = await ConsoleBrowser.launch(berth.url);
    user = await berth.user();
    id = (await user.api.running({ name: 'web' })).db_id;
    page = await browser.signedIn(user, await browser.context({ reducedMotion: 'reduce' }));
    await page.getByRole('link', { name: 'web', exact: true }).click();
    await page.getByRole('navigation', { name: 'web' }).getByRole('link', { name: 'Ports' }).click();
  });
  afterAll(async () => {
    await browser.close();
    await berth.stop();
    application.stop();
  });

  const choose = async (item: string): Promise<void> => {
    await page.getByRole('button', { name: 'More for port 3000', exact: true }).click();
    await page.getByRole('menuitem', { name: item, exact: true }).click();
  };

  it('must open a preview in a tab, which gets in by itself', async () => {
    const opened = page.context().waitForEvent('page');
    await page.getByRole('button', { name: 'Open port 3000' }).click();
    const preview = await opened;
    await preview.getByText('GET /').waitFor();
    expect(preview.url()).toMatch(new RegExp(`^http://3000-${id}\\.preview\\.localhost:\\d+/$`));
    await preview.reload();
    await preview.getByText('GET /').waitFor();
    expect(await browser.faultsOf(page)).toEqual([]);
    await preview.close();
  });

  it('must make a link, which opens the preview for a stranger until it is revoked', async () => {
    await choose('New link');
    await page.getByLabel('Name').fill('review');
    await page.getByRole('button', { name: 'Create link' }).click();
    const url = (await page.locator('.secret code').textContent()) ?? '';
    await page.getByRole('button', { name: 'Done' }).click();
    const stranger = await (await browser.context()).newPage();
    await stranger.goto(url);
    await stranger.getByText('GET /').waitFor();
    await choose('Links');
    await page.getByRole('button', { name: 'Revoke review' }).click();
    await page.getByRole('button', { name: 'Revoke review' }).waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Done' }).click();
    await stranger.reload();
    await stranger.getByText('This preview is private').waitFor();
    await stranger.goto(url);
    await stranger.getByText('This link does not work').waitFor();
    await stranger.context().close();
  });

  it('must let everybody see a port after a question, and take it back', async () => {
    await choose('Make public');
    await page.getByRole('button', { name: 'Make public' }).last().click();
    await page.getByText('Public · everyone').waitFor();
    await choose('Make private');
    await page.getByText('Private · you and link holders').waitFor();
  });

  it('must start a stopped container from its page, by a button, for the owner', async () => {
    const opened = page.context().waitForEvent('page');
    await page.getByRole('button', { name: 'Open port 3000' }).click();
    const preview = await opened;
    await preview.getByText('GET /').waitFor();
    await user.api.stop(id);
    await preview.reload();
    await preview.getByText('The container is stopped').waitFor();
    await preview.getByRole('button', { name: 'Start' }).click();
    await preview.getByText('GET /').waitFor();
    expect((await user.api.get(id)).body).toMatchObject({ status: 'running' });
  });
});

import type { BrowserContext, Page } from 'playwright-core';
import type { ContainerStats } from '../../src/engine';
import { StatsHistory } from '../../src/sandbox/stats/stats-history';
import { ConsoleBrowser } from '../support/clients/console-browser';
import type { NewContainer } from '../support/clients/api-client';
import { eventually } from '../support/eventually';
import { type FakeContainer, FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { Berth, type NewUser } from '../support/servers/berth';

jest.setTimeout(240_000);

const MIB = 2 ** 20;
const PHONE = { width: 360, height: 740 };

describe("a container's page", () => {
  const daemon = new FakeDaemon();
  const engine = new FakeEngine(daemon);
  let berth: Berth;
  let browser: ConsoleBrowser;
  let user: NewUser;
  let context: BrowserContext;
  let page: Page;
  let container: NewContainer;

  /** How full its memory is, of which the tests say how much is used. */
  let memoryUsed = 100 * MIB;
  const usedBy = ({ spec, startedAt }: FakeContainer): ContainerStats => {
    const at = new Date();
    const ranMs = at.getTime() - Date.parse(startedAt ?? at.toISOString());
    return {
      at,
      startedAt: startedAt ?? '',
      cpu: { usedMs: ranMs * 0.125, limitShares: spec.cpuShares, periods: 0, throttledPeriods: 0 },
      memory: { usedBytes: memoryUsed, limitBytes: spec.memoryMb * MIB },
      pids: null,
      network: { rxBytes: ranMs * 2, txBytes: ranMs },
    };
  };

  beforeAll(async () => {
    daemon.onStats = usedBy;
    daemon.onListening = () => Promise.resolve([{ port: 3000, addresses: ['0.0.0.0'] }]);
    jest.spyOn(engine.files, 'usage').mockResolvedValue({ bytes: 990 * MIB, isComplete: true });
    berth = await Berth.start({
      engine,
      environment: { PREVIEW_PORT: '0', SSH_PORT: '0', SSH_ADDRESS: 'ssh.example.com:2222' },
    });
    browser = await ConsoleBrowser.launch(berth.url);
    user = await berth.user();
    container = await user.api.running({ name: 'seen' });
    context = await browser.context({
      reducedMotion: 'reduce',
      permissions: ['clipboard-read', 'clipboard-write'],
    });
    page = await browser.signedIn(user, context);
  });
  afterAll(async () => {
    await browser.close();
    await berth.stop();
  });

  const open = (fragment = ''): Promise<unknown> => page.goto(`/containers/${container.db_id}${fragment}`);
  const tab = (name: string) => page.getByRole('navigation', { name: 'seen' }).getByRole('link', { name });
  const isOn = async (name: string): Promise<void> => {
    await page.getByRole('navigation', { name: 'seen' }).locator('[aria-current=page]').getByText(name).waitFor();
  };
  const chart = (name: string) => page.getByRole('region', { name: `${name} of seen` });
  const problems = () => page.getByRole('list', { name: 'Problems' });

  it('must open on a terminal, then on the tab that was used last, and on that of a link', async () => {
    await open();
    await isOn('Terminal');
    await tab('Files').click();
    await isOn('Files');
    await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Events' }).click();
    await page.getByRole('heading', { name: 'Events' }).waitFor();
    await open();
    await isOn('Files');
    await open('#snapshots');
    await isOn('Snapshots');
    await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Usage' }).click();
    await open();
    await isOn('Snapshots');
    // Back leads off the page at once, although the address has got its tab meanwhile.
    await page.goBack();
    await page.getByRole('heading', { name: 'Usage' }).waitFor();
  });

  it('must open a stopped container on its overview, and not take that for a choice', async () => {
    await user.api.stop(container.db_id);
    await open();
    await isOn('Overview');
    await tab('Terminal').click();
    await page.getByText('“seen” is stopped').waitFor();
    await page.getByRole('button', { name: 'Start' }).last().click();
    await page.getByRole('region', { name: 'Terminals of seen' }).waitFor();
  });

  describe('its button “Restart”', () => {
    const button = (name: string) => page.locator('.page-head').getByRole('button', { name, exact: true });
    const focused = (): Promise<string> => page.evaluate('document.activeElement.textContent');
    const status = (name: string) => page.locator('.page-head').getByText(name, { exact: true });

    /** By the keyboard, so that the focus has a place. */
    async function restart(): Promise<void> {
      await button('Restart').focus();
      await page.keyboard.press('Enter');
      await page.getByRole('dialog').getByText('All programs in it end, and it starts again.').waitFor();
      await page.getByRole('dialog').getByRole('button', { name: 'Restart', exact: true }).focus();
      await page.keyboard.press('Enter');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
    }

    it('restarts after a question, shows the status in between, and keeps the focus', async () => {
      await open('#processes');
      await button('Restart').click();
      await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
      await eventually(async () => expect(await focused()).toBe('Restart'));
      await tab('Terminal').click();
      // It takes the focus when its shell is there.
      await page.locator('.terminal-screen:focus-within').waitFor();
      const start = engine.holdOn('containers.start');
      await restart();
      await start.reached;
      await status('Stopped').waitFor();
      expect(await focused()).toBe('Restarting…');
      await page.getByText('The container was stopped.').waitFor();
      expect(await page.getByRole('button', { name: 'Start container' }).count()).toBe(0);
      await tab('Processes').click();
      await page.getByText('It starts again in a moment.').waitFor();
      expect(await page.getByRole('button', { name: 'Start', exact: true }).count()).toBe(0);
      await button('Restarting…').focus();
      expect(await browser.faultsOf(page)).toEqual([]);
      start.release();
      await status('Running').waitFor();
      await button('Stop').waitFor();
      expect(['Pause', 'Restart']).toContain(await focused());
    });

    it('says that the start failed, and leaves the container stopped with its button “Start”', async () => {
      engine.failOn('containers.start', { times: 100 });
      await restart();
      await page.getByText('The container was stopped, but could not be started again.').waitFor();
      await status('Stopped').waitFor();
      expect(await focused()).toBe('Start');
      engine.forget();
      await page.keyboard.press('Enter');
      await status('Running').waitFor();
      await button('Stop').click();
      await page.getByRole('dialog').getByRole('button', { name: 'Stop' }).click();
      await eventually(async () => expect(await focused()).toBe('Start'));
      await page.keyboard.press('Enter');
      await status('Running').waitFor();
    });
  });

  it('must draw the last hour from what the server remembers, and go on with what is used now', async () => {
    const history = berth.app.get(StatsHistory);
    await history.measure();
    await eventually(async () => {
      await history.measure();
      expect(history.of(container.db_id).samples.length).toBeGreaterThan(5);
    });
    await open('#overview');
    for (const name of ['CPU', 'Memory', 'Network']) {
      await eventually(async () => {
        const points = await chart(name).locator('[data-points]').getAttribute('data-points');
        expect(Number(points)).toBeGreaterThan(5);
      });
    }
    await chart('CPU').getByText('25%', { exact: true }).waitFor();
    await chart('Memory').getByText('100 MB', { exact: true }).waitFor();
    await chart('Memory').getByText('of 256 MB').waitFor();
    await chart('Network')
      .getByText(/KB\/s in$/)
      .first()
      .waitFor();
    await chart('Disk').getByText('990 MB', { exact: true }).waitFor();
    expect(await browser.faultsOf(page)).toEqual([]);
  });

  it('must show the values of a moment in all charts while one is pointed at', async () => {
    const box = await chart('CPU').locator('.u-over').boundingBox();
    await page.mouse.move((box?.x ?? 0) + (box?.width ?? 0) - 2, (box?.y ?? 0) + 20);
    for (const name of ['CPU', 'Memory'])
      await chart(name)
        .getByText(/^At \d/)
        .waitFor();
    await page.mouse.move(0, 0);
    await chart('CPU').getByText('Peak: ').waitFor();
  });

  it('shows the address of a port and who may see it, opens it, and leads to its settings', async () => {
    const listening = page.getByRole('region', { name: 'Listening ports' });
    await listening.getByText('Private · you and link holders').waitFor();
    const { body } = await user.api.call('GET', `/api/containers/${container.db_id}/ports`);
    const url = (body['ports'] as { url: string }[])[0]?.url ?? '';
    expect(url).toContain(`3000-${container.db_id}`);
    await listening.getByText(url).waitFor();
    await listening.getByRole('button', { name: 'Copy: Address of port 3000' }).click();
    await page.getByText('Address of port 3000 copied.').waitFor();
    expect(await page.evaluate('navigator.clipboard.readText()')).toBe(url);
    const opened = context.waitForEvent('page');
    await listening.getByRole('button', { name: 'Open port 3000' }).click();
    const preview = await opened;
    await preview.waitForURL(`${url}/**`);
    await preview.close();
    await user.api.call('PUT', `/api/containers/${container.db_id}/ports/3000`, { access: 'public' });
    await listening.getByText('Public · everyone').waitFor();
    expect(await browser.faultsOf(page)).toEqual([]);
    await listening.getByRole('link', { name: 'Links and access' }).click();
    await isOn('Ports');
    await page.getByRole('button', { name: 'More for port 3000' }).waitFor();
    await tab('Overview').click();
  });

  it('copies the ID and the SSH command', async () => {
    for (const [what, text] of [
      ['ID', container.db_id],
      ['SSH command', 'ssh seen@ssh.example.com -p 2222'],
    ] as const) {
      await page.getByRole('button', { name: `Copy: ${what}` }).click();
      await page.getByText(`${what} copied.`).waitFor();
      expect(await page.evaluate('navigator.clipboard.readText()')).toBe(text);
    }
  });

  it('lists variables without values, shows a value on demand, and adds, changes and deletes single ones', async () => {
    await user.api.patch(container.db_id, { env: { LEVEL: 'debug', TOKEN: 'hunter2' } });
    const asked: string[] = [];
    page.on('request', (request) => asked.push(new URL(request.url()).pathname));
    await open('#overview');
    const panel = page.getByRole('region', { name: 'Environment variables' });
    await panel.getByText('TOKEN').waitFor();
    expect(await panel.getByRole('img', { name: 'hidden value' }).count()).toBe(2);
    expect(asked.filter((path) => path.includes('/env/'))).toEqual([]);
    await panel.getByRole('button', { name: 'Show TOKEN' }).click();
    await panel.getByText('hunter2').waitFor();
    expect(asked.filter((path) => path.includes('/env/'))).toEqual([`/api/containers/${container.db_id}/env/TOKEN`]);
    await panel.getByRole('button', { name: 'Hide TOKEN' }).click();
    await panel.getByText('hunter2').waitFor({ state: 'detached' });
    await panel.getByRole('button', { name: 'Edit LEVEL' }).click();
    expect(await page.getByRole('dialog').getByLabel('Value').inputValue()).toBe('debug');
    await page.getByRole('dialog').getByLabel('Value').fill('info\nand more');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await panel.getByRole('button', { name: 'Delete TOKEN' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await panel.getByText('TOKEN').waitFor({ state: 'detached' });
    await panel.getByRole('button', { name: 'Add a variable' }).click();
    await page.getByLabel('Name').fill('not a name');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('dialog').getByRole('alert').waitFor();
    await page.getByLabel('Name').fill('NEW');
    await page.getByRole('button', { name: 'Save' }).click();
    await panel.getByText('NEW').waitFor();
    expect(await browser.faultsOf(page)).toEqual([]);
    const variables = await user.api.call('GET', `/api/containers/${container.db_id}/env`);
    expect(variables.body['variables']).toEqual([{ name: 'LEVEL' }, { name: 'NEW' }]);
    const level = await user.api.call('GET', `/api/containers/${container.db_id}/env/LEVEL`);
    expect(level.body['value']).toBe('info\nand more');
  });

  it('must say what is wrong, each with what to do about it', async () => {
    memoryUsed = 250 * MIB;
    await problems().getByText('/home/user is almost full: 990 MB of 1 GB.').waitFor();
    await problems()
      .getByText(/^Memory is almost full: 250 MB of 256 MB/)
      .waitFor({ timeout: 90_000 });
    expect(await browser.faultsOf(page)).toEqual([]);
    await problems().getByRole('button', { name: 'Resize' }).first().click();
    await page.getByLabel('Memory (GB)').fill('1');
    memoryUsed = 100 * MIB;
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('memory 256 MB → 1 GB').waitFor();
    await problems()
      .getByText(/^Memory/)
      .waitFor({ state: 'detached' });
  });

  it('must show why a container failed, and try again', async () => {
    daemon.startOutcomes.set('broken/image:1', 'refused');
    daemon.registry.add('broken/image:1');
    const { body } = await user.api.create({ name: 'broken', custom_image: 'broken/image:1' });
    await page.goto(`/containers/${String(body['db_id'])}`);
    await problems().getByText('The container could not be created or started').waitFor();
    daemon.startOutcomes.delete('broken/image:1');
    await problems().getByRole('button', { name: 'Try again' }).click();
    await problems().waitFor({ state: 'detached' });
    await user.api.delete(String(body['db_id']));
  });

  it('must show the whole command of a process, and copy it', async () => {
    const script = `while sleep 1; do echo "${'a long line '.repeat(20)}"; done`;
    daemon.onProgram = () => new Promise(() => undefined);
    await user.api.call('POST', `/api/containers/${container.db_id}/processes`, { command: ['sh', '-c', script] });
    await open('#processes');
    const line = `sh -c '${script}'`;
    await page.getByRole('link', { name: line }).waitFor();
    await page.getByRole('button', { name: 'Show all' }).click();
    await page.getByRole('button', { name: 'Show less' }).waitFor();
    await page.getByRole('button', { name: 'Copy: Command' }).click();
    await page.getByText('Command copied.').waitFor();
    expect(await page.evaluate('navigator.clipboard.readText()')).toBe(line);
    expect(await browser.faultsOf(page)).toEqual([]);
  });

  it('lists a process that has ended for five minutes, also while the page stays open', async () => {
    daemon.onProgram = ({ command }) => (command[0] === 'short' ? 3 : new Promise(() => undefined));
    const later = await context.newPage();
    await later.clock.install();
    await later.goto(`/containers/${container.db_id}#processes`);
    await user.api.call('POST', `/api/containers/${container.db_id}/processes`, { command: ['short'] });
    await later.getByRole('row').filter({ hasText: 'Exit code 3' }).waitFor();
    // The page's clock goes on: on a busy machine some of the rest passes by itself.
    await later.clock.fastForward('03:10');
    await later
      .getByText(/^[34] min ago$/)
      .first()
      .waitFor();
    expect(await later.getByRole('row').filter({ hasText: 'Exit code 3' }).count()).toBe(1);
    await later.clock.fastForward('02:00');
    await later.getByRole('row').filter({ hasText: 'Exit code 3' }).waitFor({ state: 'detached' });
    await later.close();
  });

  it('must fit the width of a telephone', async () => {
    await page.setViewportSize(PHONE);
    for (const fragment of ['overview', 'processes', 'ports', 'events']) {
      await open(`#${fragment}`);
      await page.locator('.panel').first().waitFor();
      await eventually(async () =>
        expect([fragment, await page.evaluate('document.documentElement.scrollWidth')]).toEqual([
          fragment,
          PHONE.width,
        ]),
      );
    }
  });

  it('must have been without a complaint of the browser', () => {
    expect(browser.complaints).toEqual([]);
  });
});

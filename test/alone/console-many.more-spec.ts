import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { DataSource } from 'typeorm';
import { ContainerEntity } from '../../src/containers/model/container.entity';
import { DEFAULT_TIERS } from '../../src/tiers/tier-table';
import { Berth, type TestUser } from '../support/servers/berth';
import { ConsoleBrowser } from '../support/clients/console-browser';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';
import { freePort } from '../support/free-port';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';

jest.setTimeout(120_000);

const CONTAINERS = 1000;

const folder = mkdtempSync(join(tmpdir(), 'berth-console-'));
let database: TestDatabase;
let environment: Record<string, string>;
let engine: FakeEngine;
let berth: Berth;
let browser: ConsoleBrowser | undefined;
let user: TestUser;
let page: Page;
let middle: string;

/** When the frame with an event came, and when the page showed it, in milliseconds of the page's clock. */
const WATCHED = `
  const { set } = Object.getOwnPropertyDescriptor(WebSocket.prototype, 'onmessage');
  Object.defineProperty(WebSocket.prototype, 'onmessage', {
    set(listener) {
      set.call(this, (event) => {
        if (String(event.data).includes('container_stopped')) globalThis.cameAt = performance.now();
        listener.call(this, event);
      });
    },
  });
`;

beforeAll(async () => {
  const big = Object.assign({}, DEFAULT_TIERS.tiers['enterprise'], { containers: CONTAINERS + 10 });
  const TIERS_FILE = join(folder, 'tiers.json');
  writeFileSync(TIERS_FILE, JSON.stringify({ ...DEFAULT_TIERS, tiers: { ...DEFAULT_TIERS.tiers, big } }));
  environment = { TIERS_FILE, PORT: String(await freePort()) };
  database = await openTestDatabase();
  engine = new FakeEngine();
  berth = await Berth.start({ engine, database, environment });
  user = await berth.user('big');
  middle = (await user.api.running({ name: 'last' })).db_id;
  await makeOthers();
  browser = await ConsoleBrowser.launch(berth.url, { isAlone: true });
  const context = await browser.context();
  await context.addInitScript(WATCHED);
  page = await browser.signedIn(user, context);
});

/** Written by itself, as so many creations would take minutes: stopped ones, which Docker knows nothing of. */
async function makeOthers(): Promise<void> {
  const rows = berth.app.get(DataSource).getRepository(ContainerEntity);
  const made = await rows.findOneByOrFail({ id: middle });
  const others = Array.from({ length: CONTAINERS }, (_, at) => {
    const [id, name] = [randomUUID(), `n${String(at).padStart(4, '0')}`];
    return Object.assign({}, made, {
      id,
      name,
      labels: { team: `t${name.at(-1) ?? ''}` },
      engineId: null,
      volumeName: `berth-${id}`,
      status: 'stopped',
      createdAt: new Date(made.createdAt.getTime() - (at + 1) * 1000),
    });
  });
  for (let at = 0; at < others.length; at += 100) await rows.insert(others.slice(at, at + 100));
}

afterAll(async () => {
  await browser?.close();
  await berth.stop();
  await database.drop();
  rmSync(folder, { recursive: true });
});

describe('a list of 1,000 containers', () => {
  it('must be painted within a second, and be whole soon after', async () => {
    await page.goto('/');
    await page.getByRole('link', { name: 'last', exact: true }).waitFor();
    const painted = await page.evaluate<number>("performance.getEntriesByName('first-contentful-paint')[0].startTime");
    expect(painted).toBeLessThan(1000);
    await page.getByRole('button', { name: `All ${String(CONTAINERS + 1)}` }).waitFor();
  });

  it('must show an event within 100 ms of its coming', async () => {
    await page.evaluate(`
      const row = document.querySelector('tr[data-id="${middle}"]').closest('table');
      new MutationObserver(() => {
        const seen = document.querySelector('tr[data-id="${middle}"] .status.stopped');
        if (seen) globalThis.shownAt ??= performance.now();
      }).observe(row, { subtree: true, childList: true, attributes: true, characterData: true });
    `);
    await user.api.stop(middle);
    await page.locator(`tr[data-id="${middle}"]`).getByText('Stopped').waitFor();
    const took = await page.evaluate<number>('globalThis.shownAt - globalThis.cameAt');
    expect(took).toBeLessThan(100);
  });

  it('must be filtered by words and labels, and drawn on as it is scrolled', async () => {
    await page.getByLabel('Filter by name').fill('team:t7 n01');
    await page.getByRole('button', { name: 'All 10' }).waitFor();
    await page.getByLabel('Filter by name').fill('');
    const rows = page.locator('tbody tr');
    const before = await rows.count();
    expect(before).toBeLessThan(200);
    await page.mouse.wheel(0, 100_000);
    await eventually(async () => expect(await rows.count()).toBeGreaterThan(before));
  });

  it('must be right again by itself after the server was restarted and things happened meanwhile', async () => {
    await berth.stop();
    await page.getByText('Connection lost.').waitFor();
    berth = await Berth.start({ engine: new FakeEngine(engine.daemon), database, environment });
    await user.api.start(middle);
    await page.getByText('Live', { exact: true }).waitFor();
    await page.locator(`tr[data-id="${middle}"]`).getByText('Running').waitFor();
  });
});

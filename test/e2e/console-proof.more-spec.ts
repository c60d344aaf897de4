import { rm } from 'node:fs/promises';
import type { Locator, Page, Request } from 'playwright-core';
import { Berth, type NewUser } from '../support/servers/berth';
import { ConsoleBrowser, consolePages, insidePages } from '../support/clients/console-browser';
import { eventually } from '../support/eventually';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';

jest.setTimeout(240_000);

const LONG = 'a-rather-long-name-of-a-container-as-people-give-them';
const SSH_KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl somebody@laptop';

let database: TestDatabase;
let berth: Berth;
let browser: ConsoleBrowser;
let user: NewUser;
/** Of the container that is called `seen`, and of one that is stopped. */
let id: string;
let stopped: string;
let webhook: string;

beforeAll(async () => {
  const environment = {
    ENGINE: 'simulated',
    SIMULATION_SPEED: '1000',
    INSTANCE_ID: 'console-proof',
    PREVIEW_PORT: '0',
    SSH_PORT: '0',
  };
  database = await openTestDatabase();
  berth = await Berth.start({ environment, database });
  browser = await ConsoleBrowser.launch(berth.url);
  user = await berth.user('pro', ['read', 'write', 'exec', 'admin']);
  await populate();
});

afterAll(async () => {
  await browser.close();
  await berth.stop();
  await rm(`${database.url.replace('sqlite:', '')}.simulated`, { recursive: true });
  await database.drop();
});

/** Something on every page, with numbers that have decimals. */
async function populate(): Promise<void> {
  const { api } = user;
  const call = async (method: string, path: string, body?: unknown): Promise<Readonly<Record<string, unknown>>> => {
    const { status, text, body: answer } = await api.call(method, path, body);
    if (status >= 300) throw new Error(`${method} ${path}: ${text}`);
    return answer;
  };
  const sizes = { image: 'sandbox', custom_image: null, memory_mb: 1536, cpu_shares: 1500, disk_mb: 2560 };
  const labels = { team: 'the-core-team', stage: 'development' };
  id = (await api.running({ ...sizes, name: 'seen', labels, auto_stop_seconds: 5400 })).db_id;
  stopped = (await api.running({ ...sizes, name: LONG })).db_id;
  await api.stop(stopped);
  await api.delete((await api.running({ ...sizes, name: 'gone' })).db_id);
  const script =
    'cd; mkdir src; head -c 1010 /dev/zero > bytes; head -c 1536 /dev/zero > kilobytes; echo hello > hello.txt';
  await call('POST', `/api/containers/${id}/exec`, { command: ['sh', '-c', script] });
  await call('POST', `/api/containers/${id}/processes`, { command: ['sleep', '1000000'] });
  const description = 'Node.js, the project and its dependencies, as before the upgrade';
  await call('POST', `/api/containers/${id}/snapshots`, { name: LONG, description, labels });
  await call('POST', '/api/tokens', { name: LONG, scopes: ['read', 'write', 'exec'], expires_in: 30 });
  await call('POST', '/api/me/ssh-keys', { name: 'laptop', public_key: SSH_KEY });
  const url = 'https://example.org/a/rather/long/path/of/a/receiver';
  webhook = String((await call('POST', '/api/webhooks', { url }))['id']);
  await call('POST', '/api/agents', { name: 'an-agent' });
  await call('PUT', '/api/admin/templates/a-rather-long-name-of-a-template', {
    image: 'sandbox',
    version: '2026-11-29-before-the-upgrade',
    description,
    memory_mb: 1536,
    cpu_shares: 1500,
    disk_mb: 2560,
    network: 'none',
    tiers: ['free', 'pro', 'enterprise'],
  });
}

const drawn = (page: Page): Promise<unknown> =>
  page.evaluate('new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)))');

/** Goes to a page of the console as a click on a link does, and waits until it is drawn. */
async function go(page: Page, path: string, heading: string): Promise<void> {
  await page.evaluate(`{
    history.pushState(null, '', ${JSON.stringify(path)});
    dispatchEvent(new PopStateEvent('popstate'));
  }`);
  await drawn(page);
  await page.getByRole('heading', { name: heading, exact: true }).waitFor();
  // A part of a page with a heading of its own must not take it; a terminal that is open precedes it.
  await eventually(async () => {
    const title = (await page.title()).replace(/^.* · (?=.* · Berth$)/, '');
    expect([path, title]).toEqual([path, `${heading} · Berth`]);
  });
}

/** Fails where an element is not drawn. */
async function boxOf(element: Locator): Promise<{ x: number; y: number; width: number; height: number }> {
  const box = await element.boundingBox();
  if (box === null) throw new Error(`${String(element)} is not drawn`);
  return box;
}

const loading = (page: Page): Locator => page.locator('main').getByText(/^(Loading|Measuring)…$/);

const loaded = (page: Page): Promise<void> =>
  eventually(async () => expect([page.url(), await loading(page).count()]).toEqual([page.url(), 0]));

/** What is wider than the window, or a panel that has something wider than itself. */
const OVERFLOWING = `[
  ...(document.documentElement.scrollWidth > innerWidth ? ['the page, ' + document.documentElement.scrollWidth] : []),
  ...[...document.querySelectorAll('.panel, dialog[open], .dialog-body')]
    .filter((panel) => panel.scrollWidth > panel.clientWidth)
    .map((panel) => panel.textContent.slice(0, 60)),
]`;

/** What can be pressed or filled in below a selector, but cannot be brought to where a pointer reaches it. */
const outOfReach = (within: string): string => `[...document.querySelectorAll(${JSON.stringify(within)})]
  .flatMap((each) => [...each.querySelectorAll('a[href], button, input, select, textarea, summary')])
  .filter((each) => each.checkVisibility({ visibilityProperty: true }))
  .filter((each) => !each.closest('.skip, .visually-hidden, .xterm'))
  .filter((each) => {
    each.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    // Of a link on several lines the first.
    const [{ left, top, width, height }] = each.getClientRects();
    const found = document.elementFromPoint(left + width / 2, top + height / 2);
    return !found || !(each.contains(found) || [...(each.labels ?? [])].some((label) => label.contains(found)));
  })
  .map((each) => each.outerHTML.slice(0, 160))`;

describe('at a zoom of 200 %', () => {
  /** What windows of 1,440 x 900 and 1,024 x 768 pixels have left. */
  const WINDOWS = [
    { width: 720, height: 450 },
    { width: 512, height: 384 },
  ] as const;
  let page: Page;

  beforeAll(async () => {
    const context = await browser.context({ deviceScaleFactor: 2, viewport: WINDOWS[0], reducedMotion: 'reduce' });
    page = await browser.signedIn(user, context);
  });
  afterAll(() => page.context().close());

  it('every page must fit the window, and all that can be done in it be reached', async () => {
    for (const [path, heading] of [...consolePages(id), ...insidePages(id)]) {
      await go(page, path, heading);
      await loaded(page);
      for (const size of WINDOWS) {
        await page.setViewportSize(size);
        await eventually(async () =>
          expect([path, size, await page.evaluate(OVERFLOWING), await page.evaluate(outOfReach('body'))]).toEqual([
            path,
            size,
            [],
            [],
          ]),
        );
      }
    }
  });

  it('the rows of a list must be reached beside what can be done with those that are selected', async () => {
    await go(page, '/', 'Containers');
    for (const size of WINDOWS) {
      await page.setViewportSize(size);
      const all = page.locator('label').getByLabel('Select all shown');
      await all.check();
      await page.getByRole('button', { name: 'Delete 2 containers' }).waitFor();
      await eventually(async () => expect([size, await page.evaluate(outOfReach('body'))]).toEqual([size, []]));
      await all.uncheck();
    }
  });

  it('every dialog must be inside the window, with its buttons in view and all else reached by scrolling', async () => {
    const inContainer = (tab: string): string => `/containers/${id}#${tab}`;
    const tall: string[] = [];
    for (const [path, heading, opener, action] of [
      [inContainer('overview'), 'seen', 'Settings', 'Save'],
      [inContainer('overview'), 'seen', 'Stop', 'Stop'],
      [inContainer('snapshots'), 'seen', 'New snapshot', 'Take snapshot'],
      [inContainer('processes'), 'seen', 'New process', 'Start'],
      ['/tokens', 'Tokens', 'New token', 'Create'],
      ['/tokens', 'Tokens', 'Add key', 'Add'],
      ['/webhooks', 'Webhooks', 'New webhook', 'Create'],
      ['/agents', 'Agents', 'New agent', 'Create'],
      ['/admin/users', 'Users', 'New user', 'Create'],
      ['/admin/templates', 'Templates', 'New template', 'Create'],
    ] as const) {
      await go(page, path, heading);
      await page.getByRole('button', { name: opener, exact: true }).first().click();
      const dialog = page.getByRole('dialog');
      const submit = dialog.getByRole('button', { name: action, exact: true });
      await submit.waitFor();
      await page.evaluate(`document.querySelectorAll('dialog details').forEach((each) => (each.open = true))`);
      for (const size of WINDOWS) {
        await page.setViewportSize(size);
        const where = [opener, size] as const;
        await eventually(async () => {
          for (const { x, y, width, height } of [await boxOf(dialog), await boxOf(submit)]) {
            expect([...where, x >= 0, y >= 0, x + width <= size.width, y + height <= size.height]).toEqual([
              ...where,
              true,
              true,
              true,
              true,
            ]);
          }
          expect([...where, await page.evaluate(OVERFLOWING), await page.evaluate(outOfReach('dialog'))]).toEqual([
            ...where,
            [],
            [],
          ]);
        });
        const scrolls = await page.evaluate<boolean>(
          `(({ scrollHeight, clientHeight }) => scrollHeight > clientHeight)(document.querySelector('.dialog-body'))`,
        );
        if (scrolls) tall.push(opener);
      }
      await page.keyboard.press('Escape');
      await dialog.waitFor({ state: 'detached' });
    }
    // Otherwise nothing was proved of those.
    expect(tall).toEqual(expect.arrayContaining(['Settings', 'New template']));
  });
});

describe('in German', () => {
  let page: Page;

  beforeAll(async () => {
    const german = { locale: 'de-DE', timezoneId: 'Europe/Berlin' };
    const context = await browser.context({
      ...german,
      viewport: { width: 360, height: 740 },
      reducedMotion: 'reduce',
    });
    page = await browser.signedIn(user, context);
  });
  afterAll(() => page.context().close());

  /** The texts of the page, and those in fields, on hover or for who sees nothing. Not what programs write. */
  const TEXTS = `[...document.querySelectorAll('body *')]
    .filter((each) => !each.closest('script, style, code, pre, .mono, .terminal-area'))
    .flatMap((each) => [
      ...([...each.childNodes].some(({ nodeType }) => nodeType === Node.TEXT_NODE) ? [each.textContent] : []),
      ...['title', 'aria-label', 'placeholder'].map((name) => each.getAttribute(name) ?? ''),
    ])`;
  /** Decimals before a unit, thousands, days and times as in the United States. */
  const ENGLISH = [
    /\d\.\d{1,2}(\s?(%|[KMGT]?B\b|CPU|h\b|ms\b)|$)/,
    /\b\d{1,3},\d{3}\b/,
    /\d{1,2}\/\d{1,2}\/\d{2,4}/,
    /\b(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]* \d{1,2}\b/,
    /\d\s?[AP]M\b/,
  ];

  it('every page must have numbers, sizes, days and times in German form, and fit a phone', async () => {
    const texts: string[] = [];
    const times: { dateTime: string; title: string }[] = [];
    for (const [path, heading] of [...consolePages(id), ...insidePages(id)]) {
      await go(page, path, heading);
      await loaded(page);
      await eventually(async () => expect([path, await page.evaluate(OVERFLOWING)]).toEqual([path, []]));
      const found = await page.evaluate<string[]>(TEXTS);
      expect([path, found.filter((text) => ENGLISH.some((form) => form.test(text)))]).toEqual([path, []]);
      texts.push(...found);
      times.push(
        ...(await page.evaluate<typeof times>(
          `[...document.querySelectorAll('time[title]')].map(({ dateTime, title }) => ({ dateTime, title }))`,
        )),
      );
    }
    const says = (part: RegExp): void => expect(texts).toContainEqual(expect.stringMatching(part));
    says(/1,5 GB/);
    says(/1,5 CPU/);
    says(/2,5 GB/);
    says(/^0,25 CPU · 256 MB · 2,5 GB disk$/);
    says(/^3 CPU → \d+(,\d+)? CPU of \d+ CPU$/);
    says(/1,5 KB/);
    says(/1\.010 B/);
    says(/^< 0,1$/);
    says(/\b\d{1,2}\.\d{1,2}\.20\d\d\b/);
    says(/^\d{2}:\d{2}:\d{2}$/);
    const form = new Intl.DateTimeFormat('de-DE', {
      dateStyle: 'medium',
      timeStyle: 'short',
      timeZone: 'Europe/Berlin',
    });
    expect(times.length).toBeGreaterThan(10);
    expect(times.filter(({ dateTime, title }) => title !== form.format(new Date(dateTime)))).toEqual([]);
  });

  it('a size with a decimal comma must be read, and one whose comma may be of thousands be refused', async () => {
    await go(page, '/new', 'New container');
    await page.getByLabel('Name', { exact: true }).fill('halves');
    await page.getByRole('radio', { name: 'Nano', exact: true }).check();
    await page.getByRole('radio', { name: 'Custom', exact: true }).check();
    const [memory, cpus, disk] = ['Memory (GB)', 'CPUs', 'Disk (GB)'].map((name) => page.getByLabel(name)) as [
      Locator,
      Locator,
      Locator,
    ];
    const shown = await Promise.all([memory, cpus, disk].map((field) => field.inputValue()));
    expect(shown).toEqual(['0,25', '0,25', '2,5']);
    await page.getByText(/^0,25 CPU to \d/).waitFor();
    const create = page.getByRole('button', { name: 'Create', exact: true });
    for (const text of ['1,500 MB', '1,500']) {
      await memory.fill(text);
      await create.click();
      await page.getByRole('alert').getByText('Memory: Use a decimal point, e.g. 1.5.').waitFor();
      expect(await memory.getAttribute('aria-invalid')).toBe('true');
    }
    await memory.fill('much');
    await page.getByText('Memory: Enter an amount, e.g. 1,5 GB or 512 MB.').waitFor();
    await memory.fill('1,5 GB');
    await cpus.fill('1,25');
    await create.click();
    await page.getByRole('heading', { name: 'halves', exact: true }).waitFor();
    await page.getByRole('navigation', { name: 'halves' }).getByRole('link', { name: 'Overview' }).click();
    await page.getByText('of 1,5 GB').first().waitFor();
    const made = /\/containers\/([^/#]+)/.exec(page.url())?.[1] ?? '';
    expect((await user.api.get(made)).body).toMatchObject({
      resources: { memory_mb: 1536, cpu_shares: 1250, disk_mb: 2560 },
    });
    await user.api.delete(made);
  });
});

/** Holds those requests of a page that match, until it is opened. */
class Gate {
  /** All that have matched, and those that are held. */
  readonly seen: Request[] = [];
  held: Request[] = [];
  private letGo: (() => void) | null = null;
  private pass: Promise<void> = Promise.resolve();

  static async before(page: Page, matches: (request: Request) => boolean): Promise<Gate> {
    const gate = new Gate();
    await page.route('**/*', async (route, request) => {
      if (matches(request)) {
        gate.seen.push(request);
        if (gate.letGo !== null) gate.held.push(request);
        await gate.pass;
      }
      await route.fallback();
    });
    return gate;
  }

  close(): void {
    this.pass = new Promise((resolve) => (this.letGo = resolve));
  }

  open(): void {
    this.held = [];
    this.letGo?.();
    this.letGo = null;
  }
}

/** What pages read of the API; not what the list of containers reads again by itself. */
const isRead = (request: Request): boolean => {
  const { pathname, search } = new URL(request.url());
  return request.method() === 'GET' && pathname.startsWith('/api/') && search !== '?limit=1';
};

const isChange = (request: Request): boolean => request.method() !== 'GET' && request.url().includes('/api/');

describe('on a slow line', () => {
  const inContainer = (tab: string): string => `/containers/${id}#${tab}`;
  let page: Page;

  beforeEach(async () => {
    page = await browser.signedIn(user, await browser.context({ reducedMotion: 'reduce' }));
  });
  afterEach(() => page.context().close());

  it('every page must say that it loads, and not that there is nothing, until the answers are here', async () => {
    const gate = await Gate.before(page, isRead);
    /** What is followed by the connection has nothing left to read. */
    const followed = ['/', inContainer('terminal')];
    for (const [path, heading] of [...consolePages(id), ...insidePages(id)]) {
      // What a container's tabs share is read anew.
      await go(page, '/', 'Containers');
      gate.close();
      await go(page, path, heading);
      if (!followed.includes(path)) {
        await eventually(() => expect([path, gate.held.length > 0]).toEqual([path, true]));
        expect([path, (await loading(page).count()) > 0]).toEqual([path, true]);
      }
      expect([path, await page.locator('.empty, [role=alert]').allInnerTexts()]).toEqual([path, []]);
      gate.open();
      await loaded(page);
    }
    gate.close();
    await page.goto('/');
    await page.getByText('Loading…').waitFor();
    expect(await page.getByText('No containers yet').count()).toBe(0);
    gate.open();
    await page.getByRole('link', { name: 'seen', exact: true }).waitFor();
  });

  it('what is pressed must show that it goes on, and be done once, however often it is pressed', async () => {
    const gate = await Gate.before(page, isChange);
    const button = (name: string): Locator => page.getByRole('button', { name, exact: true });
    const inDialog = (name: string): Locator => page.getByRole('dialog').getByRole('button', { name, exact: true });
    const fill = (label: string, text: string): Promise<void> => page.getByLabel(label, { exact: true }).fill(text);
    const opened = async (name: string): Promise<void> => {
      await button(name).first().click();
      await page.getByRole('dialog').waitFor();
    };
    const closed = (): Promise<void> => page.getByRole('dialog').waitFor({ state: 'detached' });
    const actions: readonly (readonly [
      path: string,
      heading: string,
      prepare: () => Promise<unknown>,
      pressed: () => Locator,
      done: () => Promise<unknown>,
    ])[] = [
      [
        '/new',
        'New container',
        () => fill('Name', 'pressed'),
        () => button('Create'),
        () => page.getByRole('heading', { name: 'pressed', exact: true }).waitFor(),
      ],
      [
        '/',
        'Containers',
        () => Promise.resolve(),
        () => button(`Start ${LONG}`),
        () => button(`Stop ${LONG}`).waitFor(),
      ],
      [
        inContainer('overview'),
        'seen',
        () => opened('Settings').then(() => fill('Idle timeout', '2 h')),
        () => inDialog('Save'),
        closed,
      ],
      [inContainer('snapshots'), 'seen', () => opened('New snapshot'), () => inDialog('Take snapshot'), closed],
      [
        inContainer('files/home/user'),
        'seen',
        async () => {
          await button('hello.txt').click();
          await page.locator('.cm-content').click();
          await page.keyboard.type('again ');
        },
        () => button('Save'),
        () => page.getByText('hello.txt was saved.').waitFor(),
      ],
      [
        '/tokens',
        'Tokens',
        () => opened('New token').then(() => fill('Name', 'pressed')),
        () => inDialog('Create'),
        () => inDialog('Done').click(),
      ],
      [
        '/deleted',
        'Deleted',
        () => button('Restore gone').waitFor(),
        () => button('Restore gone'),
        () => page.getByText('“gone” was restored. It is stopped.').waitFor(),
      ],
      [
        '/admin/machine',
        'Machine',
        () => Promise.resolve(),
        () => button('Reconcile with Docker'),
        () => eventually(async () => expect(await page.locator('.button.busy').count()).toBe(0)),
      ],
      [`/containers/${stopped}#overview`, LONG, () => opened('Stop'), () => inDialog('Stop'), closed],
    ];
    for (const [path, heading, prepare, pressed, done] of actions) {
      await go(page, path, heading);
      await prepare();
      gate.close();
      const before = gate.seen.length;
      const what = `${path} ${await pressed().innerText()}`;
      await pressed().click();
      await eventually(() => expect([what, gate.held.length]).toEqual([what, 1]));
      expect([what, await pressed().isDisabled(), await pressed().getAttribute('class')]).toEqual([
        what,
        true,
        expect.stringContaining('busy'),
      ]);
      expect([
        what,
        await page
          .locator('dialog :is(.dialog-head, .dialog-foot) button:not(:disabled, [aria-disabled=true])')
          .allInnerTexts(),
      ]).toEqual([what, []]);
      // Whoever sees nothing for a while presses again, or turns away.
      await pressed().dispatchEvent('click');
      await page.keyboard.press('Enter');
      await page.keyboard.press('Escape');
      await drawn(page);
      expect([what, await pressed().isDisabled()]).toEqual([what, true]);
      gate.open();
      await done();
      expect([what, gate.seen.slice(before).map((request) => request.method())]).toEqual([what, [expect.any(String)]]);
    }
  });

  it('what is chosen in a menu must be done once, and the buttons of its container show that it goes on', async () => {
    const gate = await Gate.before(page, isChange);
    const chosen = async (name: string, entry: string): Promise<Locator> => {
      const more = page.getByRole('button', { name: `More for ${name}`, exact: true });
      await more.click();
      await page.getByRole('menuitem', { name: entry, exact: true }).click();
      await eventually(() => expect([entry, gate.held.length]).toEqual([entry, 1]));
      return more;
    };
    const isBusy = async (more: Locator, others: Locator): Promise<void> => {
      expect([await more.isDisabled(), await more.getAttribute('class')]).toEqual([
        true,
        expect.stringContaining('busy'),
      ]);
      const overflows = '[...document.querySelectorAll(".busy")].some((each) => each.scrollWidth > each.clientWidth)';
      expect(await page.evaluate(overflows)).toBe(false);
      for (const other of await others.all()) expect(await other.isDisabled()).toBe(true);
      expect(await others.count()).toBeGreaterThan(0);
      await more.dispatchEvent('click');
      for (const other of await others.all()) await other.dispatchEvent('click');
      await drawn(page);
      expect(await page.locator('dialog[open], [role=menuitem]:visible').count()).toBe(0);
    };
    await go(page, '/', 'Containers');
    gate.close();
    const ofRow = await chosen('seen', 'Pause');
    await isBusy(ofRow, page.getByRole('button', { name: 'Stop seen', exact: true }));
    const deletions = async (): Promise<number> => {
      await page.keyboard.press('Control+k');
      await page.getByRole('combobox').fill('seen delete');
      await page.getByRole('option', { name: 'Search all containers' }).waitFor();
      const found = await page.getByRole('option', { name: /^seen: Delete/ }).count();
      await page.keyboard.press('Escape');
      return found;
    };
    expect(await deletions()).toBe(0);
    gate.open();
    await page.getByRole('button', { name: 'Resume seen', exact: true }).click();
    await page.getByRole('button', { name: 'Stop seen', exact: true }).waitFor();
    await eventually(async () => expect(await page.locator('.button.busy').count()).toBe(0));
    expect(await deletions()).toBe(1);
    expect(gate.seen.map((request) => new URL(request.url()).pathname.replace(/.*\//, ''))).toEqual([
      'pause',
      'resume',
    ]);

    await go(page, `/containers/${stopped}#overview`, LONG);
    const before = gate.seen.length;
    gate.close();
    const ofPage = await chosen(LONG, 'Delete');
    await isBusy(ofPage, page.getByRole('button', { name: /^(Start|Stop|Pause|Resume)$/ }));
    gate.open();
    await page.getByRole('button', { name: 'Undo', exact: true }).click();
    await page.getByRole('link', { name: LONG, exact: true }).waitFor();
    expect(gate.seen.slice(before).map((request) => request.method())).toEqual(['DELETE', 'POST']);
  });

  it('a list that is read again must show it, and be read once, however often that is asked for', async () => {
    const gate = await Gate.before(page, isRead);
    const reload = page.getByRole('button', { name: 'Reload', exact: true });
    for (const [path, heading, read] of [
      ['/webhooks', 'Webhooks', '/api/webhooks'],
      [`/webhooks?id=${webhook}`, 'Deliveries', `/api/webhooks/${webhook}/deliveries`],
      ['/admin/containers', 'All containers', '/api/admin/containers'],
      ['/admin/snapshots', 'All snapshots', '/api/admin/snapshots'],
      ['/admin/audit', 'Audit', '/api/audit'],
    ] as const) {
      await go(page, path, heading);
      await loaded(page);
      const reads = (): number => gate.seen.filter((request) => new URL(request.url()).pathname === read).length;
      await eventually(() => expect([path, reads() > 0]).toEqual([path, true]));
      gate.close();
      const before = reads();
      await reload.click();
      await eventually(() => expect([path, reads() - before]).toEqual([path, 1]));
      expect([path, await reload.isDisabled(), await reload.getAttribute('class')]).toEqual([
        path,
        true,
        expect.stringContaining('busy'),
      ]);
      await reload.dispatchEvent('click');
      await drawn(page);
      gate.open();
      await eventually(async () => expect([path, await reload.isEnabled()]).toEqual([path, true]));
      expect([path, reads() - before]).toEqual([path, 1]);
    }
    // Also where there is no list that ends it.
    await go(page, '/admin/audit?user=nobody-of-this-name', 'Audit');
    await page.getByRole('alert').waitFor();
    gate.close();
    await reload.click();
    await eventually(async () => expect(await reload.isDisabled()).toBe(true));
    gate.open();
    await eventually(async () => expect(await reload.isEnabled()).toBe(true));
  });

  it('the rows of the filter before must be marked until those of the new one are here', async () => {
    const gate = await Gate.before(page, isRead);
    const list = page.locator('.main > .panel');
    const names = (): Promise<string[]> => list.locator('tbody strong').allInnerTexts();
    const opacity = async (): Promise<number> =>
      Number(await page.evaluate(`getComputedStyle(document.querySelector('.main > .panel')).opacity`));
    await go(page, '/admin/containers', 'All containers');
    await loaded(page);
    expect([await list.getAttribute('aria-busy'), await opacity()]).toEqual(['false', 1]);
    const all = await names();
    expect(all).toEqual(expect.arrayContaining(['seen', LONG]));
    gate.close();
    await page.getByRole('button', { name: 'Stopped', exact: true }).click();
    await eventually(async () => {
      expect([await list.getAttribute('aria-busy'), await names()]).toEqual(['true', all]);
      expect(await opacity()).toBeLessThan(1);
    });
    gate.open();
    await eventually(async () => {
      expect([await list.getAttribute('aria-busy'), await opacity()]).toEqual(['false', 1]);
      expect(await names()).toContain(LONG);
      expect(await names()).not.toContain('seen');
    });
  });

  it('a part that comes late must appear in its place, or not at all where one has gone on meanwhile', async () => {
    const gate = await Gate.before(page, (request) =>
      /\/assets\/(terminals|code-editor)-[^/]*\.js$/.test(request.url()),
    );
    const tab = (name: string): Promise<void> =>
      page.getByRole('navigation', { name: 'seen' }).getByRole('link', { name, exact: true }).click();
    const below = async (part: Locator, above: Locator): Promise<void> => {
      await part.waitFor();
      const [inner, upper, main] = [await boxOf(part), await boxOf(above), await boxOf(page.locator('main'))];
      expect(inner.y).toBeGreaterThanOrEqual(upper.y + upper.height);
      expect([inner.x >= main.x, inner.x + inner.width <= main.x + main.width]).toEqual([true, true]);
    };
    const terminal = page.locator('.terminal-area');
    gate.close();
    await go(page, inContainer('terminal'), 'seen');
    await eventually(() => expect(gate.held.length).toBeGreaterThan(0));
    await below(page.locator('main').getByRole('status').getByText('Loading…'), page.locator('nav.tabs'));
    await tab('Files');
    await page.getByRole('button', { name: 'hello.txt', exact: true }).waitFor();
    const late = [...gate.held];
    gate.open();
    for (const script of late) await (await script.response())?.finished();
    await drawn(page);
    expect(await terminal.count()).toBe(0);
    await tab('Terminal');
    await below(terminal, page.locator('nav.tabs'));
    await eventually(async () => expect(await page.locator('.xterm-accessibility-tree').innerText()).toContain('# '));
    await tab('Files');
    gate.close();
    const editor = page.getByRole('region', { name: 'Editing hello.txt' });
    await page.getByRole('button', { name: 'hello.txt', exact: true }).click();
    await eventually(() => expect(gate.held.length).toBeGreaterThan(0));
    await editor.getByText('Loading…').waitFor();
    gate.open();
    await below(editor.locator('.cm-content'), editor.locator('.panel-head'));
    await editor.locator('.cm-line').getByText('hello').waitFor();
  });

  it('a file and a terminal must be found and used, from the sign-in on, at 400 ms and 50 KB a second', async () => {
    const slow = await (await browser.context({ reducedMotion: 'reduce' })).newPage();
    const network = await slow.context().newCDPSession(slow);
    await network.send('Network.enable');
    const throughput = 50 * 1024;
    const line = { offline: false, latency: 400, downloadThroughput: throughput, uploadThroughput: throughput };
    await network.send('Network.emulateNetworkConditions', line);
    const { body } = await user.api.call('POST', '/api/auth/codes');
    await slow.goto(`/#code=${String(body['code'])}`);
    await slow
      .getByText(/^(Signing in|Loading)…$/)
      .first()
      .waitFor();
    await slow.getByRole('link', { name: 'seen', exact: true }).click();
    const tab = (name: string): Promise<void> =>
      slow.getByRole('navigation', { name: 'seen' }).getByRole('link', { name, exact: true }).click();
    await tab('Files');
    await slow.getByRole('button', { name: 'hello.txt', exact: true }).click();
    await slow.locator('.cm-content').click();
    await slow.keyboard.type('slowly ');
    await slow.keyboard.press('Control+s');
    await slow.getByText('hello.txt was saved.').waitFor();
    await tab('Terminal');
    await slow.locator('.xterm-helper-textarea').waitFor({ state: 'attached' });
    const screen = (): Promise<string> => slow.locator('.xterm-accessibility-tree').innerText();
    await eventually(async () => expect(await screen()).toContain('# '));
    await slow.keyboard.type('cat hello.txt');
    await slow.keyboard.press('Enter');
    await eventually(async () => expect(await screen()).toContain('slowly'));
    await slow.context().close();
  });
});

describe('where what pages read is refused', () => {
  let page: Page;
  let isRefused = false;

  beforeAll(async () => {
    page = await browser.signedIn(user, await browser.context({ reducedMotion: 'reduce' }));
    await page.route('**/api/**', async (route, request) => {
      if (!isRefused || !isRead(request)) return route.fallback();
      return route.fulfill({ status: 500, json: { error: 'it failed', code: 'internal_error' } });
    });
  });
  afterAll(() => page.context().close());

  /** Notices that have less than this below them, before what follows. */
  const TOUCHING = `[...document.querySelectorAll('main .notice')]
    .filter((notice) => notice.nextElementSibling?.checkVisibility())
    .filter((notice) =>
      notice.nextElementSibling.getBoundingClientRect().top - notice.getBoundingClientRect().bottom < 10)
    .map((notice) => notice.outerHTML)`;
  const alerts = (): Locator => page.locator('main [role=alert]');
  const FAULT = 'Something went wrong on the server.';

  it('every page that says so must keep its notices apart from what follows', async () => {
    for (const [path, heading] of consolePages(id)) {
      isRefused = false;
      await go(page, '/', 'Containers');
      isRefused = true;
      await go(page, path, heading);
      await loaded(page);
      await drawn(page);
      expect([path, await page.evaluate(TOUCHING)]).toEqual([path, []]);
      if (['/tokens', '/admin/machine'].includes(path)) {
        await eventually(async () => expect([path, await alerts().count()]).not.toEqual([path, 0]));
        expect(await alerts().first().innerText()).toContain(FAULT);
      }
    }
  });

  it('the charts of a container must say so, in place of measuring, until they are read', async () => {
    for (const [container, name] of [
      [id, 'seen'],
      [stopped, LONG],
    ] as const) {
      isRefused = false;
      await go(page, '/', 'Containers');
      isRefused = true;
      await go(page, `/containers/${container}#overview`, name);
      await alerts().getByText(FAULT).first().waitFor();
      expect([name, await page.getByText('Measuring…').count()]).toEqual([name, 0]);
      expect([name, await page.locator('.chart-nothing').allInnerTexts()]).toEqual([
        name,
        Array.from({ length: 4 }, () => 'Unknown'),
      ]);
      isRefused = false;
      await eventually(async () =>
        expect(await page.locator('.chart-nothing').allInnerTexts()).not.toContain('Unknown'),
      );
    }
  });
});

it('must have been without a complaint of the browser', () => {
  expect(browser.complaints).toEqual([]);
});

import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { readFileSync } from 'node:fs';
import type { TestUser } from '../servers/berth';

/** The console in Debian's Chromium. */
export class ConsoleBrowser {
  /** Chromium's complaints: script errors and violations of the Content-Security-Policy. */
  readonly complaints: string[] = [];
  /** Requests that failed, with Chromium's reason. */
  private readonly failed: string[] = [];

  private constructor(
    private readonly browser: Browser,
    private readonly url: string,
    private readonly isAlone: boolean,
  ) {}

  /** @param url the server's. @param isAlone whether no other test runs meanwhile */
  static async launch(url: string, { isAlone = false } = {}): Promise<ConsoleBrowser> {
    const executablePath = process.env['TEST_BROWSER'];
    if (!executablePath) throw new Error('TEST_BROWSER names no Chromium: `npm test` brings one');
    // Chromium's own sandbox does not work for root, and the only page is ours.
    const browser = await chromium.launch({ executablePath, chromiumSandbox: process.getuid?.() !== 0 });
    return new ConsoleBrowser(browser, url, isAlone);
  }

  /** A new browser context without cookies or stored data. */
  async context(options: Parameters<Browser['newContext']>[0] = {}): Promise<BrowserContext> {
    const context = await this.browser.newContext({ baseURL: this.url, ...options });
    context.setDefaultTimeout(30_000);
    if (!this.isAlone) await withstandNetworkChanges(context);
    context.on('requestfailed', (request) => {
      this.failed.push(`${request.url()}: ${request.failure()?.errorText ?? ''}`);
    });
    context.on('weberror', (error) => this.complaints.push(String(error.error())));
    context.on('console', (message) => {
      // Chromium also reports responses with an error status, even if the page handles them.
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
        this.complaints.push(message.text());
    });
    return context;
  }

  /** A page that is signed in by a link, as `npm start` prints it. */
  async signedIn(user: TestUser, context?: BrowserContext): Promise<Page> {
    const page = await (context ?? (await this.context())).newPage();
    const { body } = await user.api.call('POST', '/api/auth/codes');
    await page.goto(`/#code=${String(body['code'])}`);
    await page
      .getByRole('heading', { name: 'Containers', exact: true })
      .waitFor()
      .catch(async (error: unknown) => {
        const says = await page.locator('body').innerText();
        const faults = [...this.complaints, ...this.failed].join('\n');
        throw new Error(`the page says: ${says}\n${faults}`, { cause: error });
      });
    return page;
  }

  /** The violations that axe finds on the current page (screen reader, keyboard, contrast). */
  async faultsOf(page: Page): Promise<string[]> {
    await page.evaluate(readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8'));
    return page.evaluate(`axe.run({ resultTypes: ['violations'] }).then(({ violations }) => violations.map(
      ({ id, nodes }) => id + ': ' + nodes.map(({ html, failureSummary }) => html + ' ' + failureSummary).join(' | ')))`);
  }

  close(): Promise<void> {
    return this.browser.close();
  }
}

/** Every page of the console with its heading. @param id of a container that is called `seen` */
export const consolePages = (id: string): readonly (readonly [path: string, heading: string])[] => [
  ['/', 'Containers'],
  [`/containers/${id}#overview`, 'seen'],
  [`/containers/${id}#processes`, 'seen'],
  [`/containers/${id}#snapshots`, 'seen'],
  [`/containers/${id}#events`, 'seen'],
  ['/new', 'New container'],
  ['/snapshots', 'Snapshots'],
  ['/tokens', 'Tokens'],
  ['/webhooks', 'Webhooks'],
  ['/agents', 'Agents'],
  ['/admin/users', 'Users'],
  ['/admin/containers', 'All containers'],
  ['/admin/snapshots', 'All snapshots'],
  ['/admin/templates', 'Templates'],
  ['/admin/images', 'Images'],
  ['/admin/machine', 'Machine'],
  ['/admin/nodes', 'Nodes'],
  ['/admin/webhooks', 'Global webhooks'],
  ['/admin/audit', 'Audit'],
  ['/deleted', 'Deleted'],
  ['/events', 'Events'],
  ['/usage', 'Usage'],
];

/** The tabs for which the container has to be entered: with an engine that lets programs run in it. */
export const insidePages = (id: string): ReturnType<typeof consolePages> =>
  ['terminal', 'files', 'ports'].map((tab) => [`/containers/${id}#${tab}`, 'seen'] as const);

/**
 * Protects pages from Chromium's reaction to network changes. Each container of concurrent tests adds or removes a
 * network interface; Chromium then aborts all requests, and a page without its script stays empty.
 */
export async function withstandNetworkChanges(context: BrowserContext): Promise<void> {
  context.on('page', (page) => {
    Object.assign(page, { goto: again(page.goto.bind(page)), reload: again(page.reload.bind(page)) });
  });
  // This process fetches scripts and styles for the page. It fetches the sign-in too: its code works only once, so a
  // page that has lost the response could not sign in.
  await context.route(/\.(js|css)$|\/api\/auth\/sign-in$/, async (route) => {
    try {
      await route.fulfill({ response: await route.fetch() });
    } catch {
      // The server or the page is gone.
      await route.abort().catch(() => undefined);
    }
  });
}

function again<Args extends unknown[], Result>(load: (...args: Args) => Promise<Result>) {
  return async (...args: Args): Promise<Result> => {
    try {
      return await load(...args);
    } catch (error) {
      if (!String(error).includes('ERR_NETWORK_CHANGED')) throw error;
      return load(...args);
    }
  };
}

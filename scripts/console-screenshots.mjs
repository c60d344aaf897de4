/**
 * `node scripts/console-screenshots.mjs`: the pictures of the console in docs/images, of a server that `npm start`
 * runs. It creates some containers there as the user of BERTH_TOKEN, or of `npm start`'s own token, and deletes them
 * afterwards.
 *
 * `node scripts/console-screenshots.mjs --all [FOLDER]`: a picture of every page and state, on a desktop and a phone,
 * light and dark, for a review; also of what each page shows while the server refuses what it reads. It names the pages
 * that are wider than the screen, and those that do not say that they were refused. The pages of administration need
 * the scope “admin”: without BERTH_TOKEN the script makes such a token for the server that runs in this folder, and
 * revokes it afterwards.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { signInLink } from './lib/how-to-call.mjs';
import { projectRoot, runFolder } from './lib/project.mjs';
import { databaseInUse } from './lib/run-lock.mjs';
import { runScript } from './lib/shutdown.mjs';
import { say } from './lib/steps.mjs';
import { findTestBrowser } from './lib/test-browser.mjs';

const url = process.env.BERTH_URL ?? 'http://127.0.0.1:8080';
const folder = join(projectRoot, 'docs', 'images');
const viewport = { width: 1120, height: 560 };

const CONTAINERS = [
  { name: 'api-gateway', labels: { team: 'core', stage: 'prod' } },
  { name: 'notebook', memory_mb: 512, cpu_shares: 1000, labels: { owner: 'ada' }, auto_stop_seconds: 3600 },
  { name: 'build-agent-7' },
];

const WORK = 'cd; mkdir -p notes src; echo "print(6 * 7)" > src/answer.py; echo "Buy milk." > notes/today.md';
const LOAD = 'for i in $(seq 8); do timeout 1 sh -c "while :; do :; done"; sleep 1; done';

/** @returns a caller of the API that throws what it refuses */
function apiOf(token) {
  return async (method, path, body) => {
    const headers = { Authorization: `Bearer ${token}`, ...(body && { 'Content-Type': 'application/json' }) };
    const response = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${method} ${path}: ${answer.error} ${JSON.stringify(answer.details ?? '')}`);
    return answer;
  };
}

async function makeContainers(api) {
  const made = [];
  for (const wanted of CONTAINERS) {
    const { db_id: id, name } = await api('POST', '/api/containers', { image: 'sandbox', ...wanted });
    made.push({ id, name });
    await api('GET', `/api/containers/${id}/wait?status=running&timeout=60`);
  }
  const [, notebook, agent] = made;
  await api('POST', `/api/containers/${notebook.id}/exec`, { command: ['sh', '-c', WORK] });
  await api('POST', `/api/containers/${agent.id}/stop`);
  return made;
}

const OWN = ['snapshots', 'deleted', 'events', 'tokens', 'webhooks', 'agents', 'usage'];
const ADMIN = ['users', 'containers', 'snapshots', 'templates', 'images', 'machine', 'nodes', 'webhooks', 'audit'];
const TABS = ['overview', 'terminal', 'files', 'processes', 'ports', 'snapshots', 'events'];

/** @returns {[path: string, name: string][]} every page, and every tab of a container's */
const pagesOf = ({ id, isAdmin }) => [
  ['/', 'list'],
  ['/new', 'new'],
  ...TABS.map((tab) => [`/containers/${id}#${tab}`, `container-${tab}`]),
  ...OWN.map((name) => [`/${name}`, name]),
  ...(isAdmin ? ADMIN.map((name) => [`/admin/${name}`, `admin-${name}`]) : []),
];

async function go(page, path) {
  // A change of the fragment alone would load nothing.
  await page.goto('about:blank');
  await page.goto(`${url}${path}`);
  await page.locator('main :is(h1, h2, [role=alert])').first().waitFor();
  // Charts and lists are drawn by what a first answer brings.
  await page.waitForTimeout(800);
}

/** Clicks through the console, and calls `shoot` with a name for each state. */
async function visitAll(page, { id, stopped, isAdmin, shoot }) {
  const visit = async (path, name) => {
    await go(page, path);
    await shoot(name);
  };
  for (const [path, name] of pagesOf({ id, isAdmin })) await visit(path, name);
  await go(page, '/');
  await page.getByRole('checkbox').first().check();
  await shoot('list-selected');
  await visit('/?q=no-such-container', 'list-nothing-found');
  await go(page, '/new?memory=999TB&env=1=2');
  await page.getByRole('button', { name: 'Create' }).click();
  await shoot('new-errors');
  await go(page, `/containers/${id}#overview`);
  await page.getByRole('button', { name: 'Settings' }).click();
  await shoot('container-settings');
  await visit(`/containers/${stopped}#overview`, 'container-stopped');
  await visit(`/containers/${stopped}#terminal`, 'container-stopped-terminal');
  await visit('/containers/no-such', 'container-not-found');
  await go(page, '/');
  await page.keyboard.press('Control+k');
  await page.getByRole('combobox').first().waitFor();
  await shoot('palette');
  await page.keyboard.press('Escape');
  await page.keyboard.press('?');
  await shoot('shortcuts');
}

/** An answer of the API that clients do not wait out: they do not ask again by themselves. */
const REFUSAL = { error: 'storage is full', code: 'storage_full', request_id: '0b7e5c1a-2f64-4d0e-9a35-6b1f0c2d3e4f' };

/** As the console says it. */
const REFUSAL_IN_WORDS = 'disk is full';

/** What the frame of every page reads: who is signed in, and the containers. */
const isOfFrame = ({ pathname, searchParams }) =>
  pathname === '/api/me' || (pathname === '/api/containers' && !searchParams.has('status'));

/** Visits every page while the server refuses what the page reads. */
async function visitRefused(page, { id, isAdmin, shoot }) {
  for (const [path, name] of pagesOf({ id, isAdmin })) {
    let refused = 0;
    await page.route('**/api/**', (route, request) => {
      // The list is of the frame itself: nothing can be shown without it.
      const isNeeded = path !== '/' && isOfFrame(new URL(request.url()));
      if (request.method() !== 'GET' || isNeeded) return route.fallback();
      refused += 1;
      return route.fulfill({ status: 503, json: REFUSAL });
    });
    await go(page, path);
    await shoot(`${name}-refused`);
    const says = await page.getByText(REFUSAL_IN_WORDS).count();
    // What a terminal shows comes by its connection.
    if (refused > 0 && says === 0 && name !== 'container-terminal') say(`! ${name} does not say that it was refused`);
    await page.unroute('**/api/**');
  }
}

async function shootAll(browser, { token, isAdmin, made, into }) {
  mkdirSync(into, { recursive: true });
  const screens = { desktop: { width: 1280, height: 800 }, phone: { width: 360, height: 740 } };
  for (const [screen, viewport] of Object.entries(screens)) {
    for (const colorScheme of ['light', 'dark']) {
      const page = await (await browser.newContext({ viewport, colorScheme, reducedMotion: 'reduce' })).newPage();
      await page.goto(await signInLink(url, token));
      await page.getByRole('link', { name: 'notebook', exact: true }).waitFor();
      const shoot = async (name) => {
        await page.screenshot({ path: join(into, `${name}-${screen}-${colorScheme}.png`) });
        const wide = await page.evaluate('document.documentElement.scrollWidth - innerWidth');
        if (wide > 0) say(`! ${name} is ${String(wide)} pixels wider than the ${screen}`);
      };
      await visitAll(page, { id: made[1].id, stopped: made[2].id, isAdmin, shoot });
      await visitRefused(page, { id: made[1].id, isAdmin, shoot });
      await page.context().close();
    }
  }
}

async function shootForDocs(browser, { api, token, made }) {
  const open = async (colorScheme) => {
    const page = await (await browser.newContext({ viewport, colorScheme })).newPage();
    await page.goto(await signInLink(url, token));
    await page.getByRole('link', { name: 'notebook', exact: true }).waitFor();
    return page;
  };
  const shoot = (page, name) => page.screenshot({ path: join(folder, `${name}.png`) });
  const light = await open('light');
  const notebook = `/containers/${made[1].id}`;
  const work = api('POST', `/api${notebook}/exec`, { command: ['bash', '-c', LOAD] });
  // Long enough for the curves of the rows.
  await light.waitForTimeout(10_000);
  await shoot(light, 'console-list');
  await light.goto(`${url}${notebook}#overview`);
  await work;
  await shoot(light, 'console-container');
  const dark = await open('dark');
  await dark.goto(`${url}${notebook}#terminal`);
  await dark.getByText(':~#').first().waitFor();
  for (const line of ['ls --color -l', 'uname -a', 'cat src/answer.py']) {
    await dark.keyboard.type(`${line}\n`);
    await dark.waitForTimeout(500);
  }
  await shoot(dark, 'console-terminal');
}

const TOKEN_NAME = 'pictures';

/** @returns {string | undefined} a token of an administrator of the server that runs in this folder, for a day */
function makeAdminToken() {
  if (databaseInUse() === undefined) return undefined;
  const asked = ['--user', 'demo', '--tier', 'pro', '--scopes', 'read,write,exec,admin'];
  const args = [join('scripts', 'token.mjs'), ...asked, '--expires-in', '1', '--name', TOKEN_NAME];
  const { status, stdout } = spawnSync(process.execPath, args, {
    cwd: projectRoot,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return status === 0 ? stdout.trim() : undefined;
}

const scopesOf = (token) =>
  apiOf(token)('GET', '/api/me').then(
    ({ scopes }) => scopes,
    () => [],
  );

/** @returns the token of BERTH_TOKEN; else, if wanted and possible, an administrator's; else that of `npm start` */
async function findToken({ wantsAdmin }) {
  const given = process.env.BERTH_TOKEN;
  const own = given === undefined && wantsAdmin ? makeAdminToken() : undefined;
  // The server may be another one than that of this folder.
  const isOwn = own !== undefined && (await scopesOf(own)).includes('admin');
  const token = isOwn ? own : (given ?? readFileSync(join(runFolder, 'demo-token'), 'utf8').trim());
  const isAdmin = (await scopesOf(token)).includes('admin');
  return { token, isAdmin, isOwn };
}

async function main() {
  const [option, into = join(runFolder, 'pictures')] = process.argv.slice(2);
  const isAll = option === '--all';
  mkdirSync(folder, { recursive: true });
  const { token, isAdmin, isOwn } = await findToken({ wantsAdmin: isAll });
  if (isAll && !isAdmin) say('! the pages of administration are left out: BERTH_TOKEN has to be an administrator’s');
  const api = apiOf(token);
  const made = await makeContainers(api);
  const executablePath = await findTestBrowser();
  const browser = await chromium.launch({ executablePath, chromiumSandbox: process.getuid?.() !== 0 });
  try {
    if (isAll) await shootAll(browser, { token, isAdmin, made, into });
    else await shootForDocs(browser, { api, token, made });
  } finally {
    await browser.close();
    for (const { id } of made) await api('DELETE', `/api/containers/${id}`).catch(() => {});
    if (isOwn) await revokeOwn(api);
  }
}

async function revokeOwn(api) {
  const { tokens } = await api('GET', '/api/tokens');
  // The one that asks last.
  for (const { id, name } of tokens) if (name === TOKEN_NAME) await api('DELETE', `/api/tokens/${id}`).catch(() => {});
}

void runScript(main);

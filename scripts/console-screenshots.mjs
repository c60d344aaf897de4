/**
 * `node scripts/console-screenshots.mjs`: the pictures of the console in docs/images, of a server that `npm start`
 * runs. It creates some containers there as the user of BERTH_TOKEN, or of `npm start`'s own token, and deletes them
 * afterwards.
 *
 * `node scripts/console-screenshots.mjs --all [FOLDER]`: a picture of every page and state, on a desktop and a phone,
 * light and dark, for a review. It names the pages that are wider than the screen.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { signInLink } from './lib/how-to-call.mjs';
import { projectRoot, runFolder } from './lib/project.mjs';
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

/** Clicks through the console, and calls `shoot` with a name for each state. */
async function visitAll(page, { id, stopped, shoot }) {
  const go = async (path) => {
    await page.goto(`${url}${path}`);
    await page.locator('main h1, main h2').first().waitFor();
    // Charts and lists are drawn by what a first answer brings.
    await page.waitForTimeout(800);
  };
  const visit = async (path, name) => {
    await go(path);
    await shoot(name);
  };
  await visit('/', 'list');
  await page.getByRole('checkbox').first().check();
  await shoot('list-selected');
  await visit('/?q=no-such-container', 'list-nothing-found');
  await visit('/new', 'new');
  await go('/new?memory=999TB&env=1=2');
  await page.getByRole('button', { name: 'Create' }).click();
  await shoot('new-errors');
  for (const tab of ['overview', 'terminal', 'files', 'processes', 'ports', 'snapshots', 'events']) {
    await visit(`/containers/${id}#${tab}`, `container-${tab}`);
  }
  await go(`/containers/${id}#overview`);
  await page.getByRole('button', { name: 'Settings' }).click();
  await shoot('container-settings');
  await visit(`/containers/${stopped}#overview`, 'container-stopped');
  await visit(`/containers/${stopped}#terminal`, 'container-stopped-terminal');
  await visit('/containers/no-such', 'container-not-found');
  const pages = ['snapshots', 'deleted', 'events', 'tokens', 'webhooks', 'agents', 'usage'];
  const users = ['users', 'containers', 'snapshots', 'templates', 'images', 'machine', 'nodes', 'webhooks', 'audit'];
  for (const name of [...pages, ...users.map((each) => `admin/${each}`)]) {
    await visit(`/${name}`, name.replace('/', '-'));
  }
  await go('/');
  await page.keyboard.press('Control+k');
  await page.getByRole('combobox').first().waitFor();
  await shoot('palette');
  await page.keyboard.press('Escape');
  await page.keyboard.press('?');
  await shoot('shortcuts');
}

async function shootAll(browser, { token, made, into }) {
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
      await visitAll(page, { id: made[1].id, stopped: made[2].id, shoot });
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

async function main() {
  const [option, into = join(runFolder, 'pictures')] = process.argv.slice(2);
  mkdirSync(folder, { recursive: true });
  const token = process.env.BERTH_TOKEN ?? readFileSync(join(runFolder, 'demo-token'), 'utf8').trim();
  const api = apiOf(token);
  const made = await makeContainers(api);
  const executablePath = await findTestBrowser();
  const browser = await chromium.launch({ executablePath, chromiumSandbox: process.getuid?.() !== 0 });
  try {
    if (option === '--all') await shootAll(browser, { token, made, into });
    else await shootForDocs(browser, { api, token, made });
  } finally {
    await browser.close();
    for (const { id } of made) await api('DELETE', `/api/containers/${id}`).catch(() => {});
  }
}

void runScript(main);

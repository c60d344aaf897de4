/**
 * `node scripts/console-screenshots.mjs`: the pictures of the console in docs/images, of a server that `npm start`
 * runs. It makes some containers there as the user of BERTH_TOKEN, or of `npm start`'s own token, and deletes them
 * again.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { signInLink } from './lib/how-to-call.mjs';
import { projectRoot, runFolder } from './lib/project.mjs';
import { runScript } from './lib/shutdown.mjs';
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

async function main() {
  mkdirSync(folder, { recursive: true });
  const token = process.env.BERTH_TOKEN ?? readFileSync(join(runFolder, 'demo-token'), 'utf8').trim();
  const api = apiOf(token);
  const made = await makeContainers(api);
  const executablePath = await findTestBrowser();
  const browser = await chromium.launch({ executablePath, chromiumSandbox: process.getuid?.() !== 0 });
  try {
    const open = async (colorScheme) => {
      const page = await (await browser.newContext({ viewport, colorScheme })).newPage();
      await page.goto(await signInLink(url, token));
      await page.getByRole('link', { name: 'notebook', exact: true }).waitFor();
      return page;
    };
    const shoot = (page, name) => page.screenshot({ path: join(folder, `${name}.png`) });
    const light = await open('light');
    await shoot(light, 'console-list');
    const notebook = `/containers/${made[1].id}`;
    const work = api('POST', `/api${notebook}/exec`, { command: ['bash', '-c', LOAD] });
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
  } finally {
    await browser.close();
    for (const { id } of made) await api('DELETE', `/api/containers/${id}`).catch(() => {});
  }
}

void runScript(main);

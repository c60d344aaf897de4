/** A Berth server as a process of its own, as `npm start` runs it, and a client of it. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { run } from '../../scripts/lib/command.mjs';
import { projectRoot } from '../../scripts/lib/project.mjs';

/** What a benchmark leaves out: limits on requests, and log lines. */
const SETTINGS = {
  NODE_ENV: 'production',
  SECRETS_KEY: '0'.repeat(64),
  PORT: '0',
  LOG_LEVEL: 'warn',
  WARM_POOL: 'off',
  RATE_LIMIT_PER_MINUTE: '0',
  RATE_LIMIT_CREATES_PER_MINUTE: '0',
  RATE_LIMIT_GUESTS_PER_HOUR: '0',
};

/** What makes {@link Berth.report} work. */
const SELF_REPORT = ['--expose-gc', '--import', join(projectRoot, 'bench', 'lib', 'self-report.mjs')];

/** The checkout whose build is measured. */
let checkout = projectRoot;

/** From now on servers are those of another checkout, which is built. */
export function measureCheckout(root) {
  checkout = root;
}

/** Of every container that is measured. */
export const LIMITS = { memory_mb: 256, cpu_shares: 1000, disk_mb: 1024 };

/** Requests before anything is measured. */
const WARM_UP = 500;

/**
 * @param {{ env: NodeJS.ProcessEnv, databaseUrl?: string, selfReport?: boolean, own?: object }} options an SQLite
 *   file of its own without `databaseUrl`; own: settings
 * @returns {Promise<Berth>} once it is ready
 */
export async function startBerth({ env, databaseUrl, selfReport = false, own = {} }) {
  const folder = mkdtempSync(join(tmpdir(), 'berth-bench-'));
  const settings = {
    ...env,
    ...SETTINGS,
    INSTANCE_ID: `test-bench-${process.pid}`,
    DATABASE_URL: databaseUrl ?? `sqlite:${join(folder, 'berth.sqlite')}`,
    ...own,
  };
  const since = performance.now();
  const child = spawn(process.execPath, [...(selfReport ? SELF_REPORT : []), join('dist', 'src', 'main.js')], {
    cwd: checkout,
    env: settings,
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  const log = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    log.push(line);
    console.log(line);
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const url = await new Promise((resolve, reject) => {
    child.on('message', (message) => message?.type === 'ready' && resolve(message.url));
    void ended.then((code) => reject(new Error(`the server ended with ${code} before it was ready`)));
  });
  return new Berth({ child, ended, url, settings, folder, log, readyMs: performance.now() - since });
}

export class Berth {
  constructor(parts) {
    Object.assign(this, parts);
  }

  /** @returns {Promise<string>} the token of a new user */
  async token(tier = 'enterprise', scopes) {
    const cli = join('dist', 'src', 'cli', 'token.js');
    const user = `bench-${Math.random().toString(36).slice(2, 10)}`;
    const args = [cli, '--user', user, '--tier', tier, ...(scopes ? ['--scopes', scopes] : [])];
    const output = await run(process.execPath, args, {
      cwd: checkout,
      env: this.settings,
    });
    return output.match(/berth_[0-9a-f]{64}/)[0];
  }

  /** @returns {Promise<any>} the body of the answer @throws Error for any status of 400 and more */
  async call(token, method, path, body) {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
      ...(body && { body: JSON.stringify(body) }),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer)}`);
    return answer;
  }

  /** @returns {Promise<{ token: string }>} a new guest */
  async guest(username) {
    const response = await fetch(`${this.url}/api/auth/guest`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ username }),
    });
    if (!response.ok) throw new Error(`guest login: ${response.status}`);
    return response.json();
  }

  /** @returns {Promise<number>} of one that has no labels */
  async metric(name) {
    const lines = (await (await fetch(`${this.url}/metrics`)).text()).split('\n');
    return Number(lines.find((line) => line.startsWith(`${name} `))?.split(' ')[1]);
  }

  /**
   * @param {'memory' | 'blocked' | 'placements'} name
   * @returns {Promise<any>} of a server that was started with `selfReport`: see `self-report.mjs`
   */
  report(name) {
    const told = new Promise((resolve) => {
      const listen = (message) => {
        if (message?.report !== name) return;
        this.child.off('message', listen);
        resolve(message.is);
      };
      this.child.on('message', listen);
    });
    this.child.send({ report: name });
    return told;
  }

  /** @returns {Promise<any>} the answer to a creation, which goes on */
  async accepted(token, image, name) {
    const body = { image: 'custom', custom_image: image, ...(name && { name }), ...LIMITS };
    return this.call(token, 'POST', '/api/containers', body);
  }

  /** Runs what no Docker call is made for: a server that has just begun runs code that nothing has compiled yet. */
  async warmUp(token, { db_id }) {
    for (let rename = 0; rename < WARM_UP; rename += 1) {
      await this.call(token, 'PATCH', `/api/containers/${db_id}`, { ...LIMITS, name: `warm-${rename % 2}` });
    }
  }

  /** @returns {Promise<any>} a new container, running */
  async running(token, image, name) {
    const { db_id } = await this.accepted(token, image, name);
    return this.call(token, 'GET', `/api/containers/${db_id}/wait?status=running&timeout=60`);
  }

  async stop() {
    this.child.kill('SIGTERM');
    await this.ended;
    rmSync(this.folder, { recursive: true, force: true });
  }
}

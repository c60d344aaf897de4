/** A throwaway PostgreSQL for the tests: own data, own port, no durability. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { ensurePackages } from './apt.mjs';
import { run } from './command.mjs';
import { freePort } from './free-port.mjs';
import { Problem } from './problem.mjs';
import { endProcess, identityOf, isAlive } from './process-identity.mjs';
import { atEnd } from './shutdown.mjs';
import { rememberGroup, temporaryFolder } from './test-remains.mjs';

const versionsFolder = '/usr/lib/postgresql';
const START_TIMEOUT_MS = 30_000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Debian keeps the server's programs outside PATH, one folder a version: the newest is taken. */
function programs() {
  if (!existsSync(versionsFolder)) return undefined;
  return readdirSync(versionsFolder)
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => join(versionsFolder, version, 'bin'))
    .find((bin) => existsSync(join(bin, 'initdb')));
}

/** PostgreSQL refuses to run as root; Debian's package has a user for it. */
async function unprivileged() {
  if (process.getuid() !== 0) return {};
  const id = async (flag) => Number((await run('id', [flag, 'postgres'])).trim());
  return { uid: await id('-u'), gid: await id('-g') };
}

async function initialise({ bin, data, user, password, passwordFile }) {
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  if (user.uid !== undefined) for (const path of [data, passwordFile]) chownSync(path, user.uid, user.gid);
  const options = [
    '--pgdata',
    data,
    '--username',
    'postgres',
    '--encoding',
    'UTF8',
    '--locale',
    'C.UTF-8',
    '--no-sync',
  ];
  options.push('--auth', 'scram-sha-256', '--pwfile', passwordFile);
  await run(join(bin, 'initdb'), options, { cwd: data, ...user });
  rmSync(passwordFile);
}

/** Its data, port and password outlive the process, so that it can be ended and started again. */
class PostgresServer {
  constructor({ bin, user, port, folder, data, password, settings }) {
    this.url = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
    const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    this.launching = { bin, user, port, data, log: join(folder, 'postgres.log'), args };
  }

  async start() {
    const { bin, user, port, data, log, args } = this.launching;
    const output = openSync(log, 'a');
    const child = spawn(join(bin, 'postgres'), ['-D', data, ...args], {
      ...user,
      cwd: data,
      detached: true,
      stdio: ['ignore', output, output],
    });
    closeSync(output);
    child.on('error', () => {});
    rememberGroup(child.pid);
    this.identity = identityOf(child.pid);
    await untilReady({ bin, port, identity: this.identity, log });
  }

  /** SIGINT is PostgreSQL's fast shutdown: it does not wait for clients. */
  async end({ signal = 'SIGINT', hurry } = {}) {
    await endProcess(this.identity, { signal, graceMs: 5000, hurry });
  }

  /** @param {{ signal: 'SIGINT' | 'SIGQUIT' }} how SIGQUIT is a crash: nothing is written down, it recovers at its start */
  async restart({ signal }) {
    await this.end({ signal });
    await this.start();
  }
}

/**
 * @param {{ survivesCrash?: boolean }} [options] survivesCrash: what was committed is there after a SIGQUIT
 * @returns {Promise<PostgresServer>} with a superuser's URL; tests make databases of their own on it
 */
export async function startPostgresServer({ survivesCrash = false } = {}) {
  await ensurePackages({ postgresql: () => programs() !== undefined }, { services: ['postgresql.service'] });
  const [bin, user, port] = [programs(), await unprivileged(), await freePort()];
  const folder = temporaryFolder();
  chmodSync(folder, 0o711);
  const data = mkdtempSync(join(folder, 'postgres-'));
  const password = randomBytes(12).toString('hex');
  await initialise({ bin, data, user, password, passwordFile: join(folder, 'postgres-password') });

  const settings = { listen_addresses: '127.0.0.1', port, unix_socket_directories: data, max_connections: 200 };
  // A lost test database costs nothing, an fsync costs time; only the machine's own crash would need one.
  Object.assign(settings, { fsync: 'off', full_page_writes: 'off' });
  if (!survivesCrash) settings.synchronous_commit = 'off';
  const server = new PostgresServer({ bin, user, port, folder, data, password, settings });
  atEnd('stopping PostgreSQL', (hurry) => server.end({ hurry }));
  await server.start();
  return server;
}

/** @returns {Promise<string>} the URL of one that nobody restarts */
export async function startPostgres() {
  return (await startPostgresServer()).url;
}

async function untilReady({ bin, port, identity, log }) {
  const until = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    const ready = await run(join(bin, 'pg_isready'), ['-q', '-h', '127.0.0.1', '-p', String(port)]).then(
      () => true,
      () => false,
    );
    if (ready) return;
    if (!isAlive(identity) || Date.now() > until) {
      throw new Problem('PostgreSQL did not start.', readFileSync(log, 'utf8').trim().split('\n').slice(-8));
    }
    await sleep(50);
  }
}

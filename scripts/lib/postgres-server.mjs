/** A throwaway PostgreSQL for the tests: own data, own port, no durability. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
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

/** @returns {Promise<string>} a superuser's URL; tests make databases of their own on it */
export async function startPostgres() {
  await ensurePackages({ postgresql: () => programs() !== undefined }, { services: ['postgresql.service'] });
  const [bin, user, port] = [programs(), await unprivileged(), await freePort()];
  const folder = temporaryFolder();
  chmodSync(folder, 0o711);
  const data = join(folder, 'postgres');
  mkdirSync(data, { mode: 0o700 });
  const password = randomBytes(12).toString('hex');
  await initialise({ bin, data, user, password, passwordFile: join(folder, 'postgres-password') });

  const settings = { listen_addresses: '127.0.0.1', port, unix_socket_directories: data, max_connections: 200 };
  // A lost test database costs nothing, an fsync costs time.
  Object.assign(settings, { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' });
  const log = join(folder, 'postgres.log');
  const output = openSync(log, 'w');
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const child = spawn(join(bin, 'postgres'), ['-D', data, ...args], {
    ...user,
    cwd: data,
    detached: true,
    stdio: ['ignore', output, output],
  });
  closeSync(output);
  child.on('error', () => {});
  rememberGroup(child.pid);
  const identity = identityOf(child.pid);
  // SIGINT is PostgreSQL's fast shutdown: it does not wait for clients.
  atEnd('stopping PostgreSQL', (hurry) => endProcess(identity, { signal: 'SIGINT', graceMs: 5000, hurry }));
  await untilReady({ bin, port, identity, log });
  return `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
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

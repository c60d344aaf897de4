/** PostgreSQL from Debian's package, on data and a port of the project's own. */
import {
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensurePackages } from './apt.mjs';
import { run } from './command.mjs';
import { Problem } from './problem.mjs';
import { ServiceProcess } from './service-process.mjs';

const versionsFolder = '/usr/lib/postgresql';
const START_MS = 180_000;
/** Its own end writes out all that it has in memory. */
const STOP_MS = 30_000;

/**
 * PostgreSQL refuses to run as root, and the user that it runs as may not be let into the project's folder. It gets the
 * folder of its data as an open file, number 3; from there this path leads to it without the folders above. (Its
 * working directory would do as well, did not PostgreSQL 15 change that while it looks for its own programs.)
 */
const HANDED_OVER = '/proc/self/fd/3';

/** @template T @param {string} folder @param {(inherit: number) => T} use @returns {Promise<T>} */
async function handingOver(folder, use) {
  const inherit = openSync(folder, 'r');
  try {
    return await use(inherit);
  } finally {
    closeSync(inherit);
  }
}

/** A lost database of a test costs nothing, an fsync costs time. */
const NOT_DURABLE = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' };

/** What was committed outlives the server's own crash, though not the machine's. */
const CRASH_SAFE = { ...NOT_DURABLE, synchronous_commit: 'on' };

/**
 * Debian keeps the server's programs outside PATH, one folder a version. @returns {Record<string, string>} by version
 */
function installed() {
  const versions = existsSync(versionsFolder) ? readdirSync(versionsFolder) : [];
  const folders = versions.map((version) => [version, join(versionsFolder, version, 'bin')]);
  return Object.fromEntries(folders.filter(([, bin]) => existsSync(join(bin, 'initdb'))));
}

/** Data belongs to the version that made it; new data is for the newest. @throws Problem */
function programsFor(data) {
  const found = installed();
  const file = join(data, 'PG_VERSION');
  const version = existsSync(file) ? readFileSync(file, 'utf8').trim() : Object.keys(found).sort((a, b) => b - a)[0];
  if (found[version]) return found[version];
  throw new Problem(`The data in ${data} is of PostgreSQL ${version}, which is not installed.`, [
    `Install postgresql-${version}, or move that folder away to begin with an empty database.`,
  ]);
}

/** Debian's package has a user for it. */
async function unprivileged() {
  if (process.getuid() !== 0) return {};
  const id = async (flag) => Number((await run('id', [flag, 'postgres'])).trim());
  return { uid: await id('-u'), gid: await id('-g') };
}

export const postgresPackages = {
  packages: { postgresql: () => Object.keys(installed()).length > 0 },
  services: ['postgresql.service'],
};

export async function ensurePostgres() {
  await ensurePackages(postgresPackages.packages, postgresPackages);
}

export class PostgresServer {
  /**
   * @param {string} folder where data, log and password file lie
   * @param {{ port: number, password: string, connections?: number, isDurable?: boolean, survivesCrash?: boolean }}
   *   options survivesCrash: where it is not durable
   */
  constructor(folder, { port, password, connections = 200, isDurable = true, survivesCrash = false }) {
    Object.assign(this, { folder, port, password, isDurable });
    this.data = join(folder, 'postgres');
    this.settings = { listen_addresses: '127.0.0.1', port, unix_socket_directories: '', max_connections: connections };
    if (!isDurable) Object.assign(this.settings, survivesCrash ? CRASH_SAFE : NOT_DURABLE);
  }

  /** @returns {string} a superuser's */
  get url() {
    return `postgres://postgres:${this.password}@127.0.0.1:${this.port}/postgres`;
  }

  /** Makes the data where there is none. @throws Problem */
  async prepare() {
    if (existsSync(join(this.data, 'PG_VERSION'))) return;
    const user = await unprivileged();
    const secret = mkdtempSync(join(tmpdir(), 'berth-postgres-'));
    const passwordFile = join(secret, 'password');
    // Under another name until it is whole: a killed run must not leave half of it.
    const unfinished = `${this.data}.new`;
    rmSync(unfinished, { recursive: true, force: true });
    try {
      mkdirSync(unfinished, { recursive: true, mode: 0o700 });
      writeFileSync(passwordFile, `${this.password}\n`, { mode: 0o600 });
      if (user.uid !== undefined) {
        for (const path of [unfinished, secret, passwordFile]) chownSync(path, user.uid, user.gid);
      }
      const options = ['--pgdata', HANDED_OVER, '--username', 'postgres', '--encoding', 'UTF8', '--locale', 'C.UTF-8'];
      if (!this.isDurable) options.push('--no-sync');
      options.push('--auth', 'scram-sha-256', '--pwfile', passwordFile);
      const initdb = join(programsFor(this.data), 'initdb');
      await handingOver(unfinished, (inherit) => run(initdb, options, { cwd: '/', ...user, inherit }));
      renameSync(unfinished, this.data);
    } finally {
      rmSync(secret, { recursive: true, force: true });
    }
  }

  /** @returns {Promise<ServiceProcess>} as soon as there is a process; its `untilReady()` is next */
  async launch() {
    const bin = programsFor(this.data);
    const settings = Object.entries(this.settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const probe = ['-q', '-h', '127.0.0.1', '-p', String(this.port)];
    const user = await unprivileged();
    return handingOver(
      this.data,
      (inherit) =>
        new ServiceProcess('PostgreSQL', {
          command: join(bin, 'postgres'),
          cwd: '/',
          args: ['-D', HANDED_OVER, ...settings],
          ...user,
          inherit,
          log: join(this.folder, 'postgres.log'),
          answers: () =>
            run(join(bin, 'pg_isready'), probe).then(
              () => true,
              () => false,
            ),
          startMs: START_MS,
          // The fast shutdown: it does not wait for clients.
          stopSignal: 'SIGINT',
          stopMs: STOP_MS,
        }),
    );
  }
}

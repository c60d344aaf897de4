import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { type ContainerView, isBerthError, type SshServerView } from '@berth/client';
import type { Command } from 'commander';
import { doing } from './advice.ts';
import { stateFolder } from './config.ts';
import { CliError, NOT_RUN, reasonOf } from './exit.ts';
import { age, note, say, sayJson, sayList } from './output.ts';
import { findId, openSession, type Session, wholeId } from './session.ts';
import { period } from './values.ts';

/** The life of a key that `berth ssh` makes, and what must be left of it to be used again. */
const KEY_SECONDS = 3_600;
const LEAST_LEFT_MS = 10 * 60_000;

/** A container in `ssh_config`, beside the hosts that the user has there already. */
const HOST_SUFFIX = '.berth';

export function addSshCommands(program: Command): void {
  program
    .command('ssh <container> [words...]')
    .description('Run ssh with a key that expires after an hour; ssh options and a command may follow')
    .passThroughOptions()
    .allowUnknownOption()
    .action(async (name: string, words: readonly string[], _: unknown, command: Command) =>
      ssh(await openSession(command), name, words),
    );
  program
    .command('ssh-config [containers...]')
    .description('Print entries for ~/.ssh/config (default: all containers)')
    .option('-i, --identity <file>', 'Private key (default: chosen by ssh)')
    .action(async (names: readonly string[], options: { identity?: string }, command: Command) =>
      printConfig(await openSession(command), names, options),
    );
  addKeys(program.command('ssh-keys').description('Your SSH keys'));
}

function addKeys(keys: Command): void {
  keys
    .command('ls', { isDefault: true })
    .description('List keys')
    .action(async (_: unknown, command: Command) => {
      const { berth, isJson, signal } = await openSession(command);
      const all = await berth.ssh.keys({ signal });
      sayList(all, {
        isJson,
        head: ['ID', 'NAME', 'TYPE', 'FINGERPRINT', 'EXPIRES', 'USED'],
        ifEmpty: 'No SSH keys yet. Add one: berth ssh-keys add',
        row: (key) => [
          key.id,
          key.name,
          key.type,
          key.fingerprint,
          key.expires_at,
          key.last_used_at === null ? null : age(key.last_used_at),
        ],
      });
    });
  keys
    .command('add [file]')
    .description('Register a public key (default: ~/.ssh/id_ed25519.pub)')
    .option('--name <name>', "Name to identify it (default: the key's comment)")
    .option('--expires <time>', 'Expire after this time: 8h, 90d', period)
    .action(async (file: string | undefined, options: { name?: string; expires?: number }, command: Command) => {
      const { berth, isJson, signal } = await openSession(command);
      const path = file ?? join(homedir(), '.ssh', 'id_ed25519.pub');
      const line = (await readText(path)).trim();
      const comment = line
        .split(/[ \t]+/)
        .slice(2)
        .join(' ')
        .slice(0, 64);
      const name = options.name ?? (comment === '' ? 'key' : comment);
      const expires = options.expires === undefined ? {} : { expires_in: options.expires };
      const key = await berth.ssh.createKey({ name, public_key: line, ...expires }, { signal });
      if (isJson) sayJson(key);
      else note(`registered ${key.name} (${key.fingerprint})`);
    });
  keys
    .command('rm <id...>')
    .description('Delete keys by their ids or prefixes of them, and close their connections')
    .action(async (ids: readonly string[], _: unknown, command: Command) => {
      const { berth, isJson, signal } = await openSession(command);
      const all = await berth.ssh.keys({ signal });
      for (const given of ids) {
        doing.subject = given;
        const deleted = await berth.ssh.deleteKey(wholeId(given, all), { signal });
        if (isJson) sayJson(deleted);
        else note(deleted.message);
      }
    });
}

async function ssh(session: Session, name: string, words: readonly string[]): Promise<void> {
  try {
    const container = await named(session, name);
    const server = await session.berth.ssh.server({ signal: session.signal });
    const key = await keyFor(session);
    const options = await pinned(session, server);
    const args = ['-i', key, '-o', 'IdentitiesOnly=yes', ...options.flatMap((option) => ['-o', option])];
    const target = `${container.name}@${hostOf(session, server)}`;
    process.exitCode = await run('ssh', [...args, '-p', String(server.port), target, ...words]);
  } catch (error) {
    process.exitCode = NOT_RUN;
    throw error;
  }
}

async function printConfig(
  session: Session,
  names: readonly string[],
  { identity }: { identity?: string },
): Promise<void> {
  const { berth, signal } = session;
  const server = await berth.ssh.server({ signal });
  const containers: Pick<ContainerView, 'name'>[] = [];
  for (const name of names) containers.push(await named(session, name));
  if (names.length === 0) {
    for await (const each of berth.containers.list({ signal })) if ('db_id' in each) containers.push(each);
  }
  const options = await pinned(session, server);
  say('# from `berth ssh-config`');
  for (const { name } of containers) {
    const lines = [
      `Host ${name}${HOST_SUFFIX}`,
      `  HostName ${hostOf(session, server)}`,
      `  Port ${String(server.port)}`,
      `  User ${name}`,
      ...options.map((option) => `  ${option.replace('=', ' ')}`),
      ...(identity === undefined ? [] : [`  IdentityFile ${identity}`, '  IdentitiesOnly yes']),
    ];
    for (const line of lines) say(line);
  }
}

/** @returns the container; its name is the user's of SSH */
async function named(session: Session, name: string): Promise<ContainerView> {
  return session.berth.containers.get(await findId(session, name), { signal: session.signal });
}

function hostOf({ berth }: Session, { host }: SshServerView): string {
  return host ?? new URL(berth.url).hostname.replace(/^\[|\]$/g, '');
}

/** Writes the server's host keys to a file of their own. @returns the options by which ssh trusts these alone */
async function pinned(session: Session, server: SshServerView): Promise<string[]> {
  const host = hostOf(session, server);
  const name = server.port === 22 ? host : `[${host}]:${String(server.port)}`;
  const file = join(folderOf(session), 'known_hosts');
  const lines = server.host_keys.map((key) => `${name} ${key.public_key}\n`);
  await writePrivate(file, lines.join(''));
  return [`UserKnownHostsFile="${file}"`, 'GlobalKnownHostsFile=none', 'StrictHostKeyChecking=yes'];
}

/** @returns the file of a private key that is registered for a while longer */
async function keyFor(session: Session): Promise<string> {
  const { berth, signal } = session;
  const folder = folderOf(session);
  const file = join(folder, 'key');
  const kept = await readFile(join(folder, 'key.json'), 'utf8').then(
    (text) => JSON.parse(text) as { id: string; expires_at: string | null },
    () => null,
  );
  const isLasting = Date.parse(kept?.expires_at ?? '') - Date.now() > LEAST_LEFT_MS;
  if (kept && isLasting && (await berth.ssh.keys({ signal })).some(({ id }) => id === kept.id)) return file;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await rm(file, { force: true });
  if ((await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'berth ssh', '-f', file])) !== 0) {
    throw new CliError(`ssh-keygen could not create a key in ${folder}. See its messages for the reason`);
  }
  const body = { name: 'berth ssh', public_key: (await readText(`${file}.pub`)).trim() };
  const key = await berth.ssh.createKey({ ...body, expires_in: KEY_SECONDS }, { signal }).catch((error: unknown) => {
    // The token ends within the hour, and the key with it.
    const isTooLong = isBerthError(error) && error.details.some(({ field }) => field === 'expires_in');
    if (!isTooLong) throw error;
    return berth.ssh.createKey(body, { signal });
  });
  await writePrivate(join(folder, 'key.json'), JSON.stringify({ id: key.id, expires_at: key.expires_at }));
  return file;
}

/** Of one server and one of its users. */
function folderOf({ berth, user }: Session): string {
  const id = createHash('sha256').update(`${berth.url}\n${user}`).digest('hex').slice(0, 16);
  return join(stateFolder(), 'ssh', id);
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new CliError(`cannot read ${reasonOf(error)}. Choose another file`);
  }
}

async function writePrivate(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  await writeFile(file, text, { mode: 0o600 });
}

/** Runs a program in this terminal. @returns its exit code */
function run(program: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'inherit' });
    // The program itself acts upon Ctrl-C.
    const ignore = (): void => undefined;
    process.on('SIGINT', ignore);
    child.once('error', (error) => {
      const isMissing = 'code' in error && error.code === 'ENOENT';
      reject(isMissing ? new CliError(`${program} is not installed. Install openssh-client`, NOT_RUN) : error);
    });
    child.once('close', (code) => {
      process.off('SIGINT', ignore);
      resolve(code ?? NOT_RUN);
    });
  });
}

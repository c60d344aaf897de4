import { text } from 'node:stream/consumers';
import { Berth } from '@berth/client';
import type { Command } from 'commander';
import { forgetContext, readConfig, saveContext, useContext } from './config.ts';
import { CliError, USAGE } from './exit.ts';
import { age, duration, note, say, sayJson, sayTable } from './output.ts';
import { askSecret } from './prompt.ts';
import { openSession, type Session } from './session.ts';

export function addAccountCommands(program: Command): void {
  program
    .command('login <url>')
    .description('keeps a server and a token as a context, and makes it the current one')
    .option('--token-stdin', 'reads the token from standard input')
    .option('--guest <username>', 'logs in as a guest, who needs no token')
    .option('--as <context>', "the context's name; the server's host name if absent, with a number where that is taken")
    .action(login);
  program
    .command('logout [context]')
    .description('forgets a context, the current one if none is named')
    .action(async (name: string | undefined) => note(`forgot ${await forgetContext(name)}`));
  program
    .command('contexts')
    .description('lists the contexts that were logged in to')
    .action(async (_: unknown, command: Command) => {
      const { current, contexts } = await readConfig();
      const rows = Object.entries(contexts).map(([name, { url, user }]) => ({
        name,
        url,
        user: user ?? null,
        current: name === current,
      }));
      if (command.optsWithGlobals<{ json?: boolean }>().json) sayJson(rows);
      else
        sayTable(
          ['', 'NAME', 'URL', 'USER'],
          rows.map((row) => [row.current ? '*' : '', row.name, row.url, row.user]),
        );
    });
  program
    .command('use <context>')
    .description('makes a context the current one')
    .action((name: string) => useContext(name));
  addTokens(program.command('tokens').description("the user's own tokens"));
  addAgents(program.command('agents').description("the user's agents, online or not"));
  program
    .command('usage')
    .description("shows what is used of the tier's limits, and what was used by day")
    .option('--from <day>', 'such as 2026-11-01')
    .option('--to <day>', 'included')
    .action(async (options: { from?: string; to?: string }, command: Command) =>
      usage(await openSession(command), options),
    );
}

interface LoginOptions {
  readonly tokenStdin?: boolean;
  readonly guest?: string;
  readonly as?: string;
}

async function login(url: string, { tokenStdin, guest, as }: LoginOptions): Promise<void> {
  if (!/^https?:/.test(url) || !URL.canParse(url)) {
    throw new CliError(`${url} is no address such as https://berth.example.org`, USAGE);
  }
  if (isReadOnTheWay(url)) {
    note(`warning: ${new URL(url).host} is reached over HTTP: everybody on the way there can read the token.`);
    note('  Use an https:// address, or a tunnel (`ssh -L 8080:127.0.0.1:8080 HOST`).');
  }
  let token: string;
  if (guest !== undefined) ({ token } = await new Berth({ url }).account.loginAsGuest(guest));
  else if (tokenStdin || !process.stdin.isTTY) token = (await text(process.stdin)).trim();
  else token = await askSecret('Token: ');
  const { user, scopes } = await new Berth({ url, token }).account.me();
  const name = await saveContext(as, { url, token, user: user.username });
  note(`logged in to ${name} as ${user.username} (${user.tier}; ${scopes.join(', ')})`);
}

/** True if the connection is neither encrypted nor local. */
function isReadOnTheWay(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === 'http:' && !/^(.*\.)?localhost$|^127(\.\d+){3}$|^\[::1\]$/.test(hostname);
}

function addTokens(tokens: Command): void {
  tokens
    .command('ls', { isDefault: true })
    .description('lists them')
    .action(async (_: unknown, command: Command) => {
      const { berth, isJson, signal } = await openSession(command);
      const all = await berth.tokens.list({ signal });
      if (isJson) sayJson(all);
      else {
        const rows = all.map((each) => [
          each.id,
          each.name,
          each.scopes.join(','),
          each.expires_at,
          age(each.created_at),
        ]);
        sayTable(['ID', 'NAME', 'SCOPES', 'EXPIRES', 'AGE'], rows);
      }
    });
  tokens
    .command('create <name>')
    .description('makes one, and prints it this once')
    .option('--scopes <scopes>', 'of read, write, exec, admin', (written: string) => written.split(','))
    .option('--expires-in <days>', 'days until it ends', Number)
    .action(async (name: string, options: { scopes?: ('read' | 'write')[]; expiresIn?: number }, command: Command) => {
      const { berth, isJson, signal } = await openSession(command);
      const { scopes, expiresIn } = options;
      const body = { name, ...(scopes && { scopes }), ...(expiresIn !== undefined && { expires_in: expiresIn }) };
      const created = await berth.tokens.create(body, { signal });
      if (isJson) sayJson(created);
      else {
        const ends = created.expires_at;
        // A token expires with the token that created it at the latest, such as that of a console session.
        if (ends !== null) note(`it ends ${ends}${expiresIn === undefined ? ', with the token that made it' : ''}`);
        say(created.token);
      }
    });
  tokens
    .command('rm <id>')
    .description('revokes one')
    .action(async (id: string, _: unknown, command: Command) => {
      const { berth, isJson, signal } = await openSession(command);
      const revoked = await berth.tokens.revoke(id, { signal });
      if (isJson) sayJson(revoked);
      else note(revoked.message);
    });
}

function addAgents(agents: Command): void {
  agents
    .command('ls', { isDefault: true })
    .description('lists them')
    .action(async (_: unknown, command: Command) => {
      const { berth, isJson, signal } = await openSession(command);
      const all = await berth.agents.list({ signal });
      if (isJson) sayJson(all);
      else {
        const rows = all.map((each) => [
          each.id,
          each.name,
          each.status,
          each.os,
          each.tags.join(','),
          each.last_seen_at,
        ]);
        sayTable(['ID', 'NAME', 'STATUS', 'OS', 'TAGS', 'SEEN'], rows);
      }
    });
  agents
    .command('create <name>')
    .description('makes one, and prints its token this once')
    .option('--tags <tags>', 'separated by commas', (written: string) => written.split(','))
    .action(async (name: string, { tags }: { tags?: string[] }, command: Command) => {
      const { berth, isJson, signal } = await openSession(command);
      const created = await berth.agents.create({ name, ...(tags && { tags }) }, { signal });
      if (isJson) sayJson(created);
      else say(created.token);
    });
}

async function usage({ berth, isJson, signal }: Session, { from, to }: { from?: string; to?: string }): Promise<void> {
  const days = { ...(from !== undefined && { from }), ...(to !== undefined && { to }), signal };
  const [me, used] = [await berth.account.me({ signal }), await berth.account.usage(days)];
  if (isJson) {
    sayJson({ usage: me.usage, limits: me.limits, days: used });
    return;
  }
  note(
    `${me.user.username} (${me.user.tier}): ${String(me.usage.containers)} of ${String(me.limits.containers)} containers`,
  );
  const hours = (amount: number): string => (amount / 3_600).toFixed(1);
  const rows = used.map((each) => [
    each.day,
    duration(each.running_seconds),
    hours(each.memory_mb_seconds / 1_024),
    hours(each.cpu_share_seconds / 1_000),
    hours(each.disk_mb_seconds / 1_024),
    hours(each.snapshot_mb_seconds / 1_024),
    (each.preview_bytes / 2 ** 20).toFixed(1),
  ]);
  sayTable(['DAY', 'RUNNING', 'GIB-HOURS', 'CPU-HOURS', 'DISK-GIB-HOURS', 'SNAPSHOT-GIB-HOURS', 'PREVIEW-MIB'], rows);
}

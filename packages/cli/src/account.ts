import { text } from 'node:stream/consumers';
import { Berth } from '@berth/client';
import type * as api from '@berth/client';
import { type Command, Option } from 'commander';
import { doing } from './advice.ts';
import { forgetContext, isAddress, readConfig, saveContext, useContext } from './config.ts';
import { CliError, USAGE } from './exit.ts';
import { age, duration, note, type Row, say, sayJson, sayList, sayTable } from './output.ts';
import { askSecret } from './prompt.ts';
import { openSession, type Session, wholeId } from './session.ts';
import { showUser } from './show.ts';
import { whole } from './values.ts';

export function addAccountCommands(program: Command): void {
  program
    .command('login <url>')
    .description('Log in to a server: save it with a token as the current context')
    .option('--token-stdin', 'Read the token from standard input')
    .option('--guest <username>', 'Log in as a guest, without a token')
    .option('--as <context>', "Context's name (default: the server's host name)")
    .action(login);
  program
    .command('logout [context]')
    .description('Remove a context and its token (default: the current context)')
    .action(async (name: string | undefined) => note(`logged out of ${await forgetContext(name)}`));
  program
    .command('contexts')
    .description('List contexts: saved servers and users')
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
    .description('Make a context the current one')
    .action((name: string) => useContext(name));
  program
    .command('whoami')
    .description('Show user, server, scopes, usage and limits')
    .action(async (_: unknown, command: Command) => {
      const { berth, isJson, signal, context } = await openSession(command);
      const me = await berth.account.me({ signal });
      const server = berth.url;
      if (isJson) sayJson({ server, context, ...me });
      else showUser(me, { server, context });
    });
  program
    .command('images')
    .description('List images and templates for `create`')
    .action(async (_: unknown, command: Command) => images(await openSession(command)));
  addTokens(program.command('tokens').description('Your tokens'));
  addAgents(program.command('agents').description('Your agents'));
  program
    .command('usage')
    .description('Show your usage by day')
    .option('--from <day>', 'First day, such as 2026-11-01')
    .option('--to <day>', 'Last day, inclusive')
    .action(async (options: { from?: string; to?: string }, command: Command) =>
      usage(await openSession(command), options),
    );
}

async function images({ berth, isJson, signal }: Session): Promise<void> {
  const all = await berth.account.images({ signal });
  sayList(all, {
    isJson,
    head: ['NAME', 'IMAGE', 'PRESENT', 'PULLED', 'DESCRIPTION'],
    row: (each) => [
      each.default ? `${each.name} (default)` : each.name,
      each.template ? `template ${each.template.version}` : each.reference,
      each.available === null ? null : each.available ? 'yes' : 'no',
      PULLS[each.pull],
      each.description,
    ],
  });
}

/** When a creation asks the registry for an image. */
const PULLS: Readonly<Record<api.ImageView['pull'], string>> = {
  missing: 'if missing',
  daily: 'daily',
  always: 'always',
  never: 'never',
};

interface LoginOptions {
  readonly tokenStdin?: boolean;
  readonly guest?: string;
  readonly as?: string;
}

async function login(url: string, { tokenStdin, guest, as }: LoginOptions): Promise<void> {
  if (!isAddress(url)) {
    throw new CliError(`${url} is not a valid URL. Use one such as https://berth.example.org`, USAGE);
  }
  if (isReadOnTheWay(url)) {
    note(`warning: ${new URL(url).host} is reached over plain HTTP: others on the network can read the token.`);
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

interface NewToken {
  readonly scopes?: ('read' | 'write')[];
  readonly expiresIn?: number;
  readonly format?: 'berth' | 'e2b';
  readonly container?: string;
  readonly forks?: boolean;
}

function addTokens(tokens: Command): void {
  tokens
    .command('ls', { isDefault: true })
    .description('List tokens')
    .action(async (_: unknown, command: Command) => {
      const { berth, isJson, signal } = await openSession(command);
      const all = await berth.tokens.list({ signal });
      sayList(all, {
        isJson,
        head: ['ID', 'NAME', 'SCOPES', 'CONTAINER', 'EXPIRES', 'AGE'],
        row: (each) => [
          each.id,
          each.name,
          each.scopes.join(','),
          each.container && `${each.container.id.slice(0, 8)}${each.container.forks ? ' and forks' : ''}`,
          each.expires_at,
          age(each.created_at),
        ],
      });
    });
  tokens
    .command('create <name>')
    .description('Create a token and print it; it is shown only once')
    .option('--scopes <scopes>', 'Scopes: read, write, exec, admin; separated by commas', (written: string) =>
      written.split(','),
    )
    .option('--expires-in <days>', 'Days until it expires', whole)
    .addOption(new Option('--format <format>', "Form of its text; e2b for E2B's SDKs").choices(['berth', 'e2b']))
    .option('--container <container>', 'Limit the token to one container')
    .option('--forks', 'With --container: allow forks of it too')
    .action(async (name: string, options: NewToken, command: Command) => {
      const { berth, isJson, signal } = await openSession(command);
      const { scopes, expiresIn, format, container, forks } = options;
      const expires = expiresIn !== undefined && { expires_in: expiresIn };
      const only = { ...(container !== undefined && { container }), ...(forks && { forks }) };
      const body = { name, ...(scopes && { scopes }), ...(format && { format }), ...expires, ...only };
      const created = await berth.tokens.create(body, { signal });
      if (isJson) sayJson(created);
      else {
        const ends = created.expires_at;
        // A token expires with the token that created it at the latest, such as that of a console session.
        if (ends !== null) note(`expires ${ends}${expiresIn === undefined ? ', with the token that created it' : ''}`);
        say(created.token);
      }
    });
  tokens
    .command('rm <id>')
    .description('Revoke a token by its id or a prefix of it')
    .action(async (id: string, _: unknown, command: Command) => {
      const { berth, isJson, signal } = await openSession(command);
      doing.subject = id;
      const revoked = await berth.tokens.revoke(wholeId(id, await berth.tokens.list({ signal })), { signal });
      if (isJson) sayJson(revoked);
      else note(revoked.message);
    });
}

function addAgents(agents: Command): void {
  agents
    .command('ls', { isDefault: true })
    .description('List agents')
    .action(async (_: unknown, command: Command) => {
      const { berth, isJson, signal } = await openSession(command);
      const all = await berth.agents.list({ signal });
      sayList(all, {
        isJson,
        head: ['ID', 'NAME', 'STATUS', 'OS', 'TAGS', 'SEEN'],
        ifEmpty: 'No agents yet. Create one: berth agents create workshop',
        row: (each) => [each.id, each.name, each.status, each.os, each.tags.join(','), each.last_seen_at],
      });
    });
  agents
    .command('create <name>')
    .description('Create an agent and print its token; it is shown only once')
    .option('--tags <tags>', 'Tags, separated by commas', (written: string) => written.split(','))
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
  sayTable(
    ['DAY', ...USAGE_HEAD],
    used.map((each) => [each.day, ...usageCells(each)]),
  );
}

/** The columns of {@link usageCells}. */
export const USAGE_HEAD = [
  'RUNNING',
  'GIB-HOURS',
  'CPU-HOURS',
  'DISK-GIB-HOURS',
  'SNAPSHOT-GIB-HOURS',
  'PREVIEW-MIB',
] as const;

export function usageCells(day: Omit<api.DailyUsageView, 'day'>): Row {
  const hours = (amount: number): string => (amount / 3_600).toFixed(1);
  return [
    duration(day.running_seconds),
    hours(day.memory_mb_seconds / 1_024),
    hours(day.cpu_share_seconds / 1_000),
    hours(day.disk_mb_seconds / 1_024),
    hours(day.snapshot_mb_seconds / 1_024),
    (day.preview_bytes / 2 ** 20).toFixed(1),
  ];
}

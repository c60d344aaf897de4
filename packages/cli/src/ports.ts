import type * as api from '@berth/client';
import { type Command, InvalidArgumentError } from 'commander';
import { age, inWords, note, say, sayJson, sayJsonLine, sayList } from './output.ts';
import { findId, openSession, type Session, wholeId } from './session.ts';
import { period } from './values.ts';

interface LinkOptions {
  readonly name?: string;
  readonly expires?: number;
  readonly once?: boolean;
  readonly mayStart?: boolean;
}

/** What listens in containers, and who may see it from outside. */
export function addPortCommands(program: Command): void {
  const port = program.command('port').description('Previews: ports of a container in the browser');
  port
    .command('ls <container>')
    .description('List listening ports')
    .option('-f, --follow', 'Also show changes until the container stops; with --json, one per line')
    .action(async (name: string, options: { readonly follow?: boolean }, command: Command) => {
      const session = await openSession(command);
      await (options.follow === true ? follow(session, name) : list(session, name));
    });
  port
    .command('link <container>')
    .argument('<port>', 'Port number', tcpPort)
    .description('Create a link to a port and print its URL')
    .option('--expires <time>', 'Expire after this time: 30m, 8h, 7d (default: 1d)', period)
    .option('--name <name>', 'Name to identify it')
    .option('--once', 'Valid only in the first browser that opens it')
    .option('--may-start', 'Let visitors with the link start the container')
    .action(async (name: string, number: number, options: LinkOptions, command: Command) =>
      link(await openSession(command), { name, number }, options),
    );
  port
    .command('links <container>')
    .argument('<port>', 'Port number', tcpPort)
    .description('List links to a port')
    .action(async (name: string, number: number, _: unknown, command: Command) =>
      links(await openSession(command), name, number),
    );
  port
    .command('unlink <container>')
    .argument('<port>', 'Port number', tcpPort)
    .argument('<link...>', 'Ids of links, or prefixes of them')
    .description('Revoke links and close their connections')
    .action(async (name: string, number: number, ids: readonly string[], _: unknown, command: Command) =>
      unlink(await openSession(command), { name, number }, ids),
    );
  for (const [access, description] of [
    ['public', 'Make a port accessible to everyone'],
    ['private', 'Make a port accessible only to you and visitors with a link'],
  ] as const) {
    port
      .command(`${access} <container>`)
      .argument('<port>', 'Port number', tcpPort)
      .description(description)
      .action(async (name: string, number: number, _: unknown, command: Command) => {
        const session = await openSession(command);
        const { berth, isJson, signal } = session;
        const set = await berth.ports.setAccess(await findId(session, name), number, access, { signal });
        if (isJson) sayJson(set);
        else say(set.url);
      });
  }
}

/** @returns a port number */
function tcpPort(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text) || Number(text) > 65_535) {
    throw new InvalidArgumentError('Use a port from 1 to 65535.');
  }
  return Number(text);
}

async function list(session: Session, name: string): Promise<void> {
  const { berth, isJson, signal } = session;
  const ports = await berth.ports.list(await findId(session, name), { signal });
  sayList(ports, {
    isJson,
    head: ['PORT', 'LISTENS ON', 'ACCESS', 'URL'],
    ifEmpty: 'No program listens on a port. Start a server in the container first.',
    row: (each) => [each.port, each.addresses.join(','), each.access, each.url],
  });
}

/** Writes the ports that are open, and a line for each that opens, closes or changes, until the container stops. */
async function follow(session: Session, name: string): Promise<void> {
  const { berth, isJson, signal } = session;
  const known = new Map<number, string>();
  for await (const message of berth.ports.follow(await findId(session, name), { signal })) {
    if (isJson) sayJsonLine(message);
    else if (message.type === 'end') note(`[${inWords(message.reason)}]`);
    else sayChanges(known, message.ports);
  }
}

function sayChanges(known: Map<number, string>, ports: readonly api.PortView[]): void {
  for (const { port, addresses, access, url } of ports) {
    const facts = [addresses.join(','), access, url ?? '-'].join('  ');
    if (known.get(port) === facts) continue;
    say(`${known.has(port) ? 'changed' : 'open   '}  ${String(port).padEnd(5)}  ${facts}`);
    known.set(port, facts);
  }
  const open = new Set(ports.map(({ port }) => port));
  for (const port of [...known.keys()].filter((each) => !open.has(each))) {
    say(`closed   ${String(port)}`);
    known.delete(port);
  }
}

async function link(
  session: Session,
  { name, number }: { readonly name: string; readonly number: number },
  options: LinkOptions,
): Promise<void> {
  const { berth, isJson, signal } = session;
  const body: api.CreateLinkDto = {
    ...(options.name !== undefined && { name: options.name }),
    ...(options.expires !== undefined && { expires_in: options.expires }),
    ...(options.once === true && { once: true }),
    ...(options.mayStart === true && { may_start: true }),
  };
  const made = await berth.ports.createLink(await findId(session, name), number, body, { signal });
  if (isJson) sayJson(made);
  else say(made.url);
}

async function links(session: Session, name: string, number: number): Promise<void> {
  const { berth, isJson, signal } = session;
  const found = await berth.ports.links(await findId(session, name), number, { signal });
  sayList(found, {
    isJson,
    head: ['ID', 'NAME', 'USE', 'EXPIRES', 'AGE'],
    ifEmpty: 'No links yet. Create one: berth port link',
    row: (each) => [each.id.slice(0, 8), each.name, usesOf(each), each.expires_at, age(each.created_at)],
  });
}

function usesOf({ once, used_at: usedAt }: api.LinkView): string {
  if (!once) return 'any';
  return usedAt === null ? 'once' : 'once, used';
}

async function unlink(
  session: Session,
  { name, number }: { readonly name: string; readonly number: number },
  ids: readonly string[],
): Promise<void> {
  const { berth, isJson, signal } = session;
  const container = await findId(session, name);
  const known = await berth.ports.links(container, number, { signal });
  for (const id of ids) {
    const revoked = await berth.ports.revokeLink(container, number, wholeId(id, known), { signal });
    if (isJson) sayJson(revoked);
    else note(`${revoked.id}: ${revoked.message}`);
  }
}

import type * as api from '@berth/client';
import { type Command, InvalidArgumentError } from 'commander';
import { age, note, say, sayJson, sayTable } from './output.ts';
import { findId, openSession, type Session } from './session.ts';
import { period } from './values.ts';

interface LinkOptions {
  readonly name?: string;
  readonly expires?: number;
  readonly once?: boolean;
  readonly mayStart?: boolean;
}

/** What listens in containers, and who may see it from outside. */
export function addPortCommands(program: Command): void {
  const port = program.command('port').description('previews: what listens in a container, seen from outside');
  port
    .command('ls <container>')
    .description('lists the ports on which programs listen')
    .action(async (name: string, _: unknown, command: Command) => list(await openSession(command), name));
  port
    .command('link <container>')
    .argument('<port>', 'the port', tcpPort)
    .description('makes a link to a port, and prints its URL')
    .option('--expires <time>', 'ends after so long: 30m, 8h, 7d; a day if absent', period)
    .option('--name <name>', 'to recognise it by')
    .option('--once', 'opens in one browser alone, the first')
    .option('--may-start', 'visitors with the link may start the container')
    .action(async (name: string, number: number, options: LinkOptions, command: Command) =>
      link(await openSession(command), { name, number }, options),
    );
  port
    .command('links <container>')
    .argument('<port>', 'the port', tcpPort)
    .description('lists the links to a port')
    .action(async (name: string, number: number, _: unknown, command: Command) =>
      links(await openSession(command), name, number),
    );
  port
    .command('unlink <container>')
    .argument('<port>', 'the port', tcpPort)
    .argument('<link...>', 'ids of links, or how they begin')
    .description('revokes links, and ends what they opened')
    .action(async (name: string, number: number, ids: readonly string[], _: unknown, command: Command) =>
      unlink(await openSession(command), { name, number }, ids),
    );
  for (const [access, description] of [
    ['public', 'lets everybody see a port'],
    ['private', 'lets only you and those with a link see a port'],
  ] as const) {
    port
      .command(`${access} <container>`)
      .argument('<port>', 'the port', tcpPort)
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
    throw new InvalidArgumentError('a port from 1 to 65535 is wanted.');
  }
  return Number(text);
}

async function list(session: Session, name: string): Promise<void> {
  const { berth, isJson, signal } = session;
  const ports = await berth.ports.list(await findId(session, name), { signal });
  if (isJson) sayJson(ports);
  else {
    const rows = ports.map((each) => [each.port, each.addresses.join(','), each.access, each.url]);
    sayTable(['PORT', 'LISTENS ON', 'ACCESS', 'URL'], rows);
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
  if (isJson) sayJson(found);
  else {
    const rows = found.map((each) => [
      each.id.slice(0, 8),
      each.name,
      usesOf(each),
      each.expires_at,
      age(each.created_at),
    ]);
    sayTable(['ID', 'NAME', 'USE', 'ENDS', 'AGE'], rows);
  }
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
    const whole = known.find((each) => id.length >= 8 && each.id.startsWith(id))?.id ?? id;
    const revoked = await berth.ports.revokeLink(container, number, whole, { signal });
    if (isJson) sayJson(revoked);
    else note(`${revoked.id}: ${revoked.message}`);
  }
}

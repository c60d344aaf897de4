import { createHash } from 'node:crypto';
import { Berth } from '@berth/client';
import type { Command } from 'commander';
import { openContext } from './config.ts';
import { doing } from './advice.ts';
import { CliError } from './exit.ts';
import type { Output } from './output.ts';

/** The context of every command: the client, the form of the output, and a signal for Ctrl-C. */
export interface Session extends Output {
  readonly berth: Berth;
  readonly signal: AbortSignal;
  /** The context's name; null if the environment names the server. */
  readonly context: string | null;
  /** Identifies the token's user, to keep what belongs to different users apart; not the token itself. */
  readonly user: string;
}

/** The program's global options. */
interface GlobalOptions {
  readonly json?: boolean;
  readonly context?: string;
}

const interrupted = new AbortController();

/** Aborted at Ctrl-C. */
export const interruption = interrupted.signal;

/** The reason of {@link interruption}. */
export class Interrupted extends Error {}

/** The first Ctrl-C aborts requests with an error, the second one ends the process. */
export function listenForInterrupts(): void {
  process.once('SIGINT', () => interrupted.abort(new Interrupted('interrupted')));
}

export async function openSession(command: Command): Promise<Session> {
  const { json, context } = command.optsWithGlobals<GlobalOptions>();
  const { name, ...opened } = await openContext(context);
  doing.server = opened.url;
  const user = opened.user ?? createHash('sha256').update(opened.token).digest('hex');
  return { berth: new Berth(opened), isJson: json === true, signal: interruption, context: name, user };
}

/**
 * Finds a container by name, or else takes the text as an id: a name may look like an id.
 *
 * @returns an id for the API
 */
export async function findId({ berth, signal }: Session, nameOrId: string): Promise<string> {
  doing.subject ??= nameOrId;
  if (/^[A-Za-z0-9-]{1,64}$/.test(nameOrId)) {
    const named = (await berth.containers.list({ name: nameOrId, signal }).page()).items;
    for (const each of named) if (each.name === nameOrId) return 'db_id' in each ? each.db_id : each.id;
  }
  return nameOrId;
}

/** Like {@link findId}, among deleted containers. */
export async function findDeletedId({ berth, signal }: Session, nameOrId: string): Promise<string> {
  doing.subject ??= nameOrId;
  // Newest first, so this is the newest one with the name.
  for await (const each of berth.containers.list({ status: 'deleted', signal })) {
    if (each.name === nameOrId && 'db_id' in each) return each.db_id;
  }
  return nameOrId;
}

/**
 * The one rule for ids that are not of containers: 8 characters or more of the beginning stand for the id.
 *
 * @returns the whole id; other text as it is
 * @throws CliError if several ids begin so
 */
export function wholeId(beginning: string, all: readonly { readonly id: string }[]): string {
  const found = all.map(({ id }) => id).filter((id) => beginning.length >= 8 && id.startsWith(beginning));
  if (found.length <= 1) return found[0] ?? beginning;
  const ids = found.map((id) => `  ${id}`);
  throw new CliError(`${String(found.length)} ids match. Use more characters of one:`, 1, ids);
}

/** @returns the id of the newest snapshot with this name; or `nameOrId` if there is none */
export async function findSnapshotId({ berth, signal }: Session, nameOrId: string): Promise<string> {
  doing.subject ??= nameOrId;
  const all: { readonly id: string }[] = [];
  for await (const each of berth.snapshots.list({ signal })) {
    if (each.name === nameOrId) return each.id;
    all.push(each);
  }
  return wholeId(nameOrId, all);
}

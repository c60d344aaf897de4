import { Berth, type ContainerView, isBerthError } from '@berth/client';
import type { Command } from 'commander';
import { openContext } from './config.ts';
import type { Output } from './output.ts';

/** What every command has: the client, how to write, and the end by Ctrl-C. */
export interface Session extends Output {
  readonly berth: Berth;
  readonly signal: AbortSignal;
}

/** Options of the program itself. */
interface GlobalOptions {
  readonly json?: boolean;
  readonly context?: string;
}

const interrupted = new AbortController();

/** Aborted at Ctrl-C. */
export const interruption = interrupted.signal;

/** Why a command ended that Ctrl-C was pressed in. */
export class Interrupted extends Error {}

/** The first Ctrl-C ends requests and says so; the next one the process. */
export function listenForInterrupts(): void {
  process.once('SIGINT', () => interrupted.abort(new Interrupted('interrupted')));
}

export async function openSession(command: Command): Promise<Session> {
  const { json, context } = command.optsWithGlobals<GlobalOptions>();
  const berth = new Berth(await openContext(context));
  return { berth, isJson: json === true, signal: interruption };
}

/** A name may look like an id: it is taken for a name first. @returns what the API takes as an id */
export async function findId({ berth, signal }: Session, nameOrId: string): Promise<string> {
  if (/^[A-Za-z0-9-]{1,64}$/.test(nameOrId)) {
    const named = (await berth.containers.list({ name: nameOrId, signal }).page()).items;
    for (const each of named) if (each.name === nameOrId) return 'db_id' in each ? each.db_id : each.id;
  }
  return nameOrId;
}

/** As {@link findId}, among the deleted. */
export async function findDeletedId({ berth, signal }: Session, nameOrId: string): Promise<string> {
  // The newest of that name.
  for await (const each of berth.containers.list({ status: 'deleted', signal })) {
    if (each.name === nameOrId && 'db_id' in each) return each.db_id;
  }
  return nameOrId;
}

/** @returns null where there is none */
export async function findContainer(session: Session, nameOrId: string): Promise<ContainerView | null> {
  try {
    return await session.berth.containers.get(await findId(session, nameOrId), { signal: session.signal });
  } catch (error) {
    if (isBerthError(error, 'container_not_found')) return null;
    throw error;
  }
}

import type * as api from '@berth/client';
import type { Command } from 'commander';
import { runningWithProgress } from './containers.ts';
import { age, note, say, sayJson, sayTable } from './output.ts';
import { findId, findSnapshotId, openSession, type Session } from './session.ts';
import { pair, whole } from './values.ts';

const MAKING_MS = 30 * 60_000;

interface CreateOptions {
  readonly name?: string;
  readonly description?: string;
  readonly label?: Readonly<Record<string, string>>;
  readonly wait: boolean;
}

interface ForkOptions {
  readonly name?: string;
  readonly count?: number;
  readonly wait: boolean;
}

export function addSnapshotCommands(program: Command): void {
  const snapshot = program.command('snapshot').description('snapshots of containers');
  snapshot
    .command('create <container>')
    .description('makes a snapshot of a container, and waits until it is ready')
    .option('--name <name>', 'its name')
    .option('--description <text>', 'what it is for')
    .option('-l, --label <key=value>', 'a label; several times', pair)
    .option('--no-wait', 'does not wait until it is ready')
    .action(async (name: string, options: CreateOptions, command: Command) =>
      create(await openSession(command), name, options),
    );
  snapshot
    .command('ls')
    .description('lists snapshots')
    .option('--container <container>', 'only those of this container')
    .action(async (options: { readonly container?: string }, command: Command) =>
      list(await openSession(command), options),
    );
  snapshot
    .command('rm <snapshot...>')
    .description('deletes snapshots; containers that were created from them stay')
    .action(async (names: readonly string[], _: unknown, command: Command) => {
      const session = await openSession(command);
      for (const name of names) {
        const deleted = await session.berth.snapshots.delete(await findSnapshotId(session, name), session);
        if (session.isJson) sayJson(deleted);
        else note(`${deleted.name}: ${deleted.message}`);
      }
    });
  snapshot
    .command('restore <container> <snapshot>')
    .description('returns a container to one of its snapshots; its present state is kept as a snapshot')
    .option('--no-keep', 'deletes the present state')
    .action(async (name: string, of: string, options: { readonly keep: boolean }, command: Command) => {
      const session = await openSession(command);
      const body = { snapshot: await findSnapshotId(session, of), keep: options.keep };
      const restored = await session.berth.snapshots.restore(await findId(session, name), body, session);
      if (session.isJson) sayJson(restored);
      else note(`${restored.name}: ${restored.message}`);
    });
  program
    .command('fork <container>')
    .description('makes copies of a container, and waits until they run')
    .option('--name <name>', 'the name of the copy; several copies get -1, -2 and so on')
    .option('--count <number>', 'how many copies', whole)
    .option('--no-wait', 'does not wait until they run')
    .action(async (name: string, options: ForkOptions, command: Command) =>
      fork(await openSession(command), name, options),
    );
}

async function create(session: Session, container: string, options: CreateOptions): Promise<void> {
  const { berth, isJson, signal } = session;
  const { name, description, label } = options;
  const body: api.CreateSnapshotDto = {
    ...(name !== undefined && { name }),
    ...(description !== undefined && { description }),
    ...(label && { labels: { ...label } }),
  };
  const made = await berth.snapshots.create(await findId(session, container), body, { signal });
  const snapshot = options.wait ? await berth.snapshots.wait(made.id, { timeoutMs: MAKING_MS, signal }) : made;
  if (isJson) sayJson(snapshot);
  else say(snapshot.id);
}

async function list(session: Session, { container }: { readonly container?: string }): Promise<void> {
  const { berth, isJson, signal } = session;
  const filter = container === undefined ? {} : { container: await findId(session, container) };
  const found = await berth.snapshots.list({ ...filter, signal }).all();
  if (isJson) {
    sayJson(found);
    return;
  }
  sayTable(
    ['ID', 'NAME', 'STATUS', 'CONTAINER', 'IMAGE', 'ROOT', 'MB', 'AGE'],
    found.map((each) => [
      each.id.slice(0, 8),
      each.name,
      each.status_reason === null ? each.status : `${each.status} (${each.status_reason})`,
      each.container_id.slice(0, 8),
      each.image,
      each.root ? 'yes' : 'no',
      Math.ceil(each.bytes / 1024 ** 2),
      age(each.created_at),
    ]),
  );
}

async function fork(session: Session, container: string, { name, count, wait }: ForkOptions): Promise<void> {
  const { berth, isJson, signal } = session;
  const body = { ...(name !== undefined && { name }), ...(count !== undefined && { count }) };
  const copies = await berth.snapshots.fork(await findId(session, container), body, { signal });
  const shown = wait ? await Promise.all(copies.map((copy) => runningWithProgress(session, copy))) : copies;
  if (isJson) sayJson(shown);
  else for (const { db_id } of shown) say(db_id);
}

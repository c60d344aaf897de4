import type * as api from '@berth/client';
import type { Command } from 'commander';
import { doing } from './advice.ts';
import { runningWithProgress } from './containers.ts';
import { age, bytes, note, say, sayJson, sayList } from './output.ts';
import { confirm } from './prompt.ts';
import { findId, findSnapshotId, openSession, type Session } from './session.ts';
import { showSnapshot, statusOf } from './show.ts';
import { pair, whole } from './values.ts';

const MAKING_MS = 30 * 60_000;

interface CreateOptions {
  readonly name?: string;
  readonly description?: string;
  readonly label?: Readonly<Record<string, string>>;
  readonly wait: boolean;
}

interface RestoreOptions {
  readonly keep: boolean;
  readonly yes?: boolean;
}

interface ForkOptions {
  readonly name?: string;
  readonly count?: number;
  readonly wait: boolean;
}

export function addSnapshotCommands(program: Command): void {
  const snapshot = program.command('snapshot').description('Snapshots of containers');
  snapshot
    .command('create <container>')
    .description('Create a snapshot of a container and wait until it is ready')
    .option('--name <name>', 'Name')
    .option('--description <text>', 'Description')
    .option('-l, --label <key=value>', 'Label (repeatable)', pair)
    .option('--no-wait', 'Do not wait until it is ready')
    .action(async (name: string, options: CreateOptions, command: Command) =>
      create(await openSession(command), name, options),
    );
  snapshot
    .command('ls')
    .description('List snapshots')
    .option('--container <container>', 'Filter by container')
    .action(async (options: { readonly container?: string }, command: Command) =>
      list(await openSession(command), options),
    );
  snapshot
    .command('show <snapshot>')
    .description('Show a snapshot')
    .action(async (name: string, _: unknown, command: Command) => {
      const session = await openSession(command);
      const found = await session.berth.snapshots.get(await findSnapshotId(session, name), session);
      if (session.isJson) sayJson(found);
      else showSnapshot(found);
    });
  snapshot
    .command('update <snapshot>')
    .description('Update the name or description of a snapshot')
    .option('--name <name>', 'Name')
    .option('--description <text>', 'Description')
    .action(async (of: string, options: { name?: string; description?: string }, command: Command) => {
      const { name, description } = options;
      const session = await openSession(command);
      const changes = { ...(name !== undefined && { name }), ...(description !== undefined && { description }) };
      const changed = await session.berth.snapshots.update(await findSnapshotId(session, of), changes, session);
      if (session.isJson) sayJson(changed);
      else note(`${changed.name}: snapshot updated`);
    });
  snapshot
    .command('rm <snapshot...>')
    .description('Delete snapshots; containers created from them are kept')
    .option('-y, --yes', 'Do not ask for confirmation')
    .action(async (names: readonly string[], { yes }: { yes?: boolean }, command: Command) =>
      remove(await openSession(command), names, yes === true),
    );
  snapshot
    .command('restore <container> <snapshot>')
    .description('Restore a container to one of its snapshots; its current state is saved as a snapshot')
    .option('--no-keep', 'Discard the current state')
    .option('-y, --yes', 'Do not ask for confirmation before recreating the container')
    .action(async (name: string, of: string, options: RestoreOptions, command: Command) =>
      restore(await openSession(command), { name, of }, options),
    );
  program
    .command('fork <container>')
    .description('Create copies of a container and wait until they are running')
    .option('--name <name>', 'Name of the copy; several copies get -1, -2 and so on')
    .option('--count <number>', 'Number of copies', whole)
    .option('--no-wait', 'Do not wait until they are running')
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

async function remove(session: Session, names: readonly string[], isConfirmed: boolean): Promise<void> {
  doing.subject = names[0];
  if (!isConfirmed) {
    const what = names.length === 1 ? 'snapshot' : 'snapshots';
    await confirm(`Delete the ${what} ${names.join(', ')}? This cannot be undone.`);
  }
  for (const name of names) {
    doing.subject = name;
    const deleted = await session.berth.snapshots.delete(await findSnapshotId(session, name), session);
    if (session.isJson) sayJson(deleted);
    else note(`${deleted.name}: ${deleted.message}`);
  }
}

async function restore(
  session: Session,
  { name, of }: { readonly name: string; readonly of: string },
  { keep, yes }: RestoreOptions,
): Promise<void> {
  const { berth, isJson, signal } = session;
  const id = await findId(session, name);
  const snapshot = await findSnapshotId(session, of);
  if (!yes) {
    const present = keep ? 'Its current state is saved as a snapshot.' : 'Its current state is lost.';
    await confirm(
      `Restore ${name} to the snapshot ${of}? The container will be recreated: its programs end. ${present}`,
    );
  }
  const restored = await berth.snapshots.restore(id, { snapshot, keep }, { signal });
  if (isJson) sayJson(restored);
  else note(`${restored.name}: ${restored.message}${restored.kept === null ? '' : `; saved as ${restored.kept}`}`);
}

async function list(session: Session, { container }: { readonly container?: string }): Promise<void> {
  const { berth, isJson, signal } = session;
  const filter = container === undefined ? {} : { container: await findId(session, container) };
  const found = await berth.snapshots.list({ ...filter, signal }).all();
  sayList(found, {
    isJson,
    head: ['ID', 'NAME', 'STATUS', 'CONTAINER', 'IMAGE', 'CONTAINS', 'SIZE', 'AGE'],
    ifEmpty: 'No snapshots yet. Create one: berth snapshot create NAME',
    row: (each) => [
      each.id.slice(0, 8),
      each.name,
      statusOf(each),
      each.container_id.slice(0, 8),
      each.image,
      each.root ? 'all files' : '/home/user',
      bytes(each.bytes),
      age(each.created_at),
    ],
  });
}

async function fork(session: Session, container: string, { name, count, wait }: ForkOptions): Promise<void> {
  const { berth, isJson, signal } = session;
  const body = { ...(name !== undefined && { name }), ...(count !== undefined && { count }) };
  const copies = await berth.snapshots.fork(await findId(session, container), body, { signal });
  const shown = wait ? await Promise.all(copies.map((copy) => runningWithProgress(session, copy))) : copies;
  if (isJson) sayJson(shown);
  else for (const { db_id } of shown) say(db_id);
}

import type * as api from '@berth/client';
import { BerthError, type StatsMessage } from '@berth/client';
import type { Command } from 'commander';
import { CliError, exitCodeOf, linesOf } from './exit.ts';
import { bytes, inWords, note, Redrawn, type Row, say, sayJson, sayJsonLine, sayTable, table } from './output.ts';
import { findId, openSession, type Session } from './session.ts';

interface StatsOptions {
  readonly follow?: boolean;
  readonly stream: boolean;
}

export function addStatsCommand(program: Command): void {
  program
    .command('stats')
    .argument('[container...]', 'Default: all running containers')
    .description('Show CPU, memory and network of containers, updated at a terminal')
    .option('-f, --follow', 'Also update if the output is not a terminal; with --json, one message per line')
    .option('--no-stream', 'Show current values once')
    .action(async (names: readonly string[], options: StatsOptions, command: Command) => {
      const session = await openSession(command);
      const isLive = options.stream && (options.follow === true || (process.stdout.isTTY && !session.isJson));
      const containers = await chosen(session, names);
      const [only] = containers;
      if (!isLive) await once(session, containers, names.length === 1);
      else if (only && containers.length === 1) await followOne(session, only);
      else await followSeveral(session, containers);
    });
}

interface Chosen {
  readonly id: string;
  readonly name: string;
}

/** The named containers, or all that run. */
async function chosen(session: Session, names: readonly string[]): Promise<readonly Chosen[]> {
  if (names.length > 0) return Promise.all(names.map(async (name) => ({ id: await findId(session, name), name })));
  const { berth, signal } = session;
  const running = await berth.containers.list({ status: 'running', signal }).all();
  const found = running.flatMap((each) => ('db_id' in each ? [{ id: each.db_id, name: each.name }] : []));
  if (found.length === 0) throw new CliError('no container is running. `berth ls` lists containers', 4);
  return found;
}

async function once(session: Session, containers: readonly Chosen[], isSingle: boolean): Promise<void> {
  const { berth, isJson, signal } = session;
  const read = async ({ id }: Chosen): Promise<api.StatsView> => berth.stats.get(id, { signal });
  const results = await Promise.allSettled(containers.map(read));
  const rows: Row[] = [];
  const values: unknown[] = [];
  for (const [index, result] of results.entries()) {
    const { id, name } = containers[index] ?? { id: '', name: '' };
    if (result.status === 'fulfilled') {
      rows.push(rowOf(name, result.value));
      values.push({ db_id: id, name, ...result.value });
    } else if (containers.length === 1 || signal.aborted) {
      throw result.reason;
    } else {
      note(`berth: ${linesOf(result.reason, name)[0]}`);
      process.exitCode ??= exitCodeOf(result.reason);
    }
  }
  if (isJson) sayJson(isSingle && results[0]?.status === 'fulfilled' ? results[0].value : values);
  else sayTable(HEAD, rows);
}

/** Follows one container until it stops. */
async function followOne({ berth, isJson, signal }: Session, container: Chosen): Promise<void> {
  const board = new Board(isJson, [container]);
  for await (const message of berth.stats.follow(container.id, { signal })) {
    if (message.type === 'end') board.ended(container, message);
    else board.measured(container, message);
  }
}

/** The most containers that the server takes in one stream. */
const MOST_A_STREAM = 50;

/**
 * Follows several containers until none of them runs. Streams of several containers do not say which have stopped: the
 * events do.
 */
async function followSeveral(session: Session, containers: readonly Chosen[]): Promise<void> {
  const { berth } = session;
  const over = new AbortController();
  const signal = AbortSignal.any([session.signal, over.signal]);
  using watch = berth.watch();
  signal.addEventListener('abort', () => watch.close());
  await watch.ready.catch((error: unknown) => {
    signal.throwIfAborted();
    throw error;
  });
  const results = await identified(session, containers, watch.getSnapshot().containers);
  const board = new Board(
    session.isJson,
    results.map(({ container }) => container),
  );
  const found = new Map<string, Chosen>();
  for (const { container, error } of results) {
    if (error === undefined) found.set(container.id, container);
    else board.failed(container, error);
  }
  const ids = [...found.keys()];
  const up = new Set(ids);
  const read = async (group: readonly string[]): Promise<void> => {
    for await (const { type, ...message } of berth.stats.followMany(group, { signal })) {
      const container = found.get(message.db_id);
      // What was measured before a stop may come after it.
      if (container && up.has(message.db_id)) board.measured(container, { type, ...message });
    }
  };
  const ended = new Promise<void>((resolve, reject) => {
    let isFirst = true;
    const look = (): void => {
      const { state, error, containers: all } = watch.getSnapshot();
      if (state === 'closed' && error) reject(error);
      for (const [id, container] of found) {
        const status = all.get(id)?.status;
        const isUp = status === 'running' || status === 'paused';
        if (isUp) up.add(id);
        else if (up.delete(id)) {
          if (status === undefined) board.ended(container, { type: 'end', reason: 'container_deleted' });
          else if (isFirst) board.failed(container, notRunning());
          else board.ended(container, { type: 'end', reason: 'container_stopped' });
        }
      }
      isFirst = false;
      if (up.size === 0) resolve();
    };
    watch.subscribe(look);
    look();
  });
  const groups = Array.from({ length: Math.ceil(ids.length / MOST_A_STREAM) }, (_, index) =>
    ids.slice(index * MOST_A_STREAM, (index + 1) * MOST_A_STREAM),
  );
  try {
    await Promise.race([ended, ...groups.map(read)]);
  } finally {
    over.abort();
  }
}

/** @returns the containers with their database ids, or why they were not found */
async function identified(
  { berth, signal }: Session,
  containers: readonly Chosen[],
  known: ReadonlyMap<string, unknown>,
): Promise<readonly { readonly container: Chosen; readonly error?: unknown }[]> {
  const results = containers.map(async (container) => {
    if (known.has(container.id)) return { container };
    try {
      return { container: { ...container, id: idOf(await berth.containers.get(container.id, { signal })) } };
    } catch (error) {
      signal.throwIfAborted();
      return { container, error };
    }
  });
  return Promise.all(results);
}

function idOf(container: api.ContainerView | api.AgentView): string {
  if (!('db_id' in container)) throw new CliError('an agent has no statistics. Choose a container', 4);
  return container.db_id;
}

function notRunning(): BerthError {
  return new BerthError({ status: 409, code: 'container_not_running', message: 'container is not running' });
}

/** What is known of the containers: at a terminal a table that is redrawn, else a line for each message. */
class Board {
  private readonly rows = new Map<string, Row>();
  private readonly screen: Redrawn | null;

  constructor(
    private readonly isJson: boolean,
    private readonly containers: readonly Chosen[],
  ) {
    this.screen = process.stdout.isTTY && !isJson ? new Redrawn() : null;
    if (!this.screen && !isJson) say(lineOf(HEAD));
  }

  measured({ id, name }: Chosen, message: { readonly type: 'stats' } & api.StatsView): void {
    const row = rowOf(name, message);
    if (this.isJson) sayJsonLine({ db_id: id, name, ...message });
    else if (this.screen) this.draw(id, row);
    else say(lineOf(row));
  }

  ended({ id, name }: Chosen, message: StatsMessage & { readonly type: 'end' }): void {
    if (this.isJson) sayJsonLine({ db_id: id, name, ...message });
    else this.draw(id, [name, `[${inWords(message.reason)}]`]);
  }

  /** It was not found, or does not run. The first error determines the exit code. */
  failed({ id, name }: Chosen, error: unknown): void {
    process.exitCode ??= exitCodeOf(error);
    if (this.screen) this.draw(id, [name, `[${error instanceof Error ? error.message : String(error)}]`]);
    else note(`berth: ${linesOf(error, name)[0]}`);
  }

  private draw(id: string, row: Row): void {
    this.rows.set(id, row);
    const rows = this.containers.flatMap((each) => {
      const known = this.rows.get(each.id);
      return known ? [known] : [];
    });
    this.screen?.show(table(HEAD, rows));
  }
}

const HEAD = ['NAME', 'CPU', 'MEMORY', 'LIMIT', 'MEM', 'RECEIVED', 'SENT', 'PROCESSES'] as const;

function rowOf(name: string, { cpu, memory, network, pids }: api.StatsView): Row {
  const { used_bytes: used, limit_bytes: limit } = memory;
  return [
    name,
    cpu.percent_of_limit === null ? null : `${cpu.percent_of_limit.toFixed(1)}%`,
    bytes(used),
    limit === null ? null : bytes(limit),
    limit === null ? null : `${((used / limit) * 100).toFixed(1)}%`,
    network && bytes(network.rx_bytes),
    network && bytes(network.tx_bytes),
    pids,
  ];
}

/** A row of a table that grows: its columns have fixed widths. */
function lineOf(row: Row): string {
  return row
    .map((cell, column) => String(cell ?? '-').padEnd(column === 0 ? 24 : 10))
    .join('  ')
    .trimEnd();
}

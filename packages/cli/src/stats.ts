import type * as api from '@berth/client';
import { isBerthError } from '@berth/client';
import type { Command } from 'commander';
import { CliError, linesOf } from './exit.ts';
import { bytes, note, Redrawn, type Row, say, sayJson, sayJsonLine, sayTable, table } from './output.ts';
import { findId, openSession, type Session } from './session.ts';

interface StatsOptions {
  readonly follow?: boolean;
  readonly stream: boolean;
}

export function addStatsCommand(program: Command): void {
  program
    .command('stats')
    .argument('[container...]', 'all running containers if none is named')
    .description('Show CPU, memory and network of containers, updated at a terminal')
    .option('-f, --follow', 'Update also if the output is not a terminal; with --json a line for each message')
    .option('--no-stream', 'Show current values once')
    .action(async (names: readonly string[], options: StatsOptions, command: Command) => {
      const session = await openSession(command);
      const isLive = options.stream && (options.follow === true || (process.stdout.isTTY && !session.isJson));
      const containers = await chosen(session, names);
      await (isLive ? follow(session, containers) : once(session, containers, names.length === 1));
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
      process.exitCode ??= 1;
    }
  }
  if (isJson) sayJson(isSingle && results[0]?.status === 'fulfilled' ? results[0].value : values);
  else sayTable(HEAD, rows);
}

/** Follows each container over a connection of its own, until all have stopped. */
async function follow(session: Session, containers: readonly Chosen[]): Promise<void> {
  const { berth, isJson, signal } = session;
  const screen = process.stdout.isTTY && !isJson ? new Redrawn() : null;
  const latest = new Map<string, Row>();
  const draw = (): void => {
    if (!screen) return;
    const rows = containers.flatMap(({ id }) => {
      const row = latest.get(id);
      return row ? [row] : [];
    });
    screen.show(table(HEAD, rows));
  };
  const watch = async ({ id, name }: Chosen): Promise<void> => {
    try {
      for await (const message of berth.stats.follow(id, { signal })) {
        if (isJson) sayJsonLine({ db_id: id, name, ...message });
        else if (message.type === 'end') latest.set(id, [name, `[${message.reason}]`]);
        else {
          latest.set(id, rowOf(name, message));
          if (!screen) say(lineOf(rowOf(name, message)));
        }
        draw();
      }
    } catch (error) {
      if (containers.length === 1 || signal.aborted || !isBerthError(error)) throw error;
      latest.set(id, [name, `[${error.message}]`]);
      draw();
    }
  };
  if (!screen && !isJson) say(lineOf(HEAD));
  await Promise.all(containers.map(watch));
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

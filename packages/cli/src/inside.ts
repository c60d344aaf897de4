import { Readable } from 'node:stream';
import type * as api from '@berth/client';
import type { Command } from 'commander';
import { copy } from './copy.ts';
import { CliError, NOT_RUN } from './exit.ts';
import { bytes, note, sayJson, sayJsonLine, sayTable } from './output.ts';
import { findId, openSession, type Session } from './session.ts';
import { openShell, type ShellOptions } from './shell.ts';
import { pair } from './values.ts';

export function addInsideCommands(program: Command): void {
  program
    .command('exec <container> <command...>')
    .description('runs a command, and ends with its exit code: berth exec dev -- ls -l')
    .option('-i, --stdin', 'gives it what comes on standard input')
    .option('-w, --cwd <directory>', 'where it runs')
    .option('-u, --user <user>', 'as whom')
    .option('-e, --env <NAME=VALUE>', 'an environment variable; several times', pair)
    .option('--timeout <seconds>', 'it is ended then', Number)
    .passThroughOptions()
    .action(async (name: string, words: readonly string[], options: ExecOptions, command: Command) =>
      exec(await openSession(command), { name, words: words[0] === '--' ? words.slice(1) : words, options }),
    );
  program
    .command('sh <container>')
    .description('opens a terminal; Ctrl-] leaves it open, and --attach comes back to it')
    .option('-a, --attach [session]', 'a terminal that is open already; the only one if none is named')
    .option('--watch', 'only looks on, where somebody else writes')
    .action(async (name: string, options: ShellOptions, command: Command) =>
      openShell(await openSession(command), name, options),
    );
  program
    .command('cp <from> <to>')
    .description(
      'copies files and directories, "-" is standard input or output: berth cp a.txt dev:, berth cp dev:out .',
    )
    .action(async (from: string, to: string, _: unknown, command: Command) =>
      copy(await openSession(command), from, to),
    );
  program
    .command('logs <container> [process]')
    .description('shows what a process wrote; the last one that was started if none is named')
    .option('-f, --follow', 'goes on with what it writes')
    .action(async (name: string, process: string | undefined, options: { follow?: boolean }, command: Command) =>
      logs(await openSession(command), { name, process, isFollowed: options.follow === true }),
    );
  program
    .command('stats <container>')
    .description('shows what a container uses')
    .option('-f, --follow', 'every two seconds')
    .action(async (name: string, options: { follow?: boolean }, command: Command) =>
      stats(await openSession(command), name, options.follow === true),
    );
}

interface ExecOptions {
  readonly stdin?: boolean;
  readonly cwd?: string;
  readonly user?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly timeout?: number;
}

async function exec(
  session: Session,
  { name, words, options }: { name: string; words: readonly string[]; options: ExecOptions },
): Promise<void> {
  const { berth, isJson, signal } = session;
  const { stdin, cwd, user, env, timeout } = options;
  const request = {
    ...(stdin && { input: Readable.toWeb(process.stdin) as ReadableStream<Uint8Array> }),
    ...(cwd !== undefined && { cwd }),
    ...(user !== undefined && { user }),
    ...(env && { env }),
    ...(timeout !== undefined && { timeout_ms: timeout * 1_000 }),
    signal,
  };
  try {
    const id = await findId(session, name);
    const collected = isJson ? new CollectedOutput() : null;
    // Output is passed on as bytes, without decoding.
    for await (const message of berth.commands.stream(id, words, request)) {
      if (message.type === 'output') {
        if (collected) collected.add(message.stream, message.data);
        else await written(process[message.stream], message.data);
        continue;
      }
      const { type: _type, ...end } = message;
      if (collected) sayJson(collected.with(end));
      else if (message.timed_out) note('ended, as its time was over');
      process.exitCode = message.exit_code ?? NOT_RUN;
    }
  } catch (error) {
    process.exitCode = NOT_RUN;
    throw error;
  } finally {
    // Otherwise an open stdin would keep this process alive.
    if (stdin) process.stdin.destroy();
  }
}

/** Resolves when the output is flushed, so that the command waits for a slow reader. */
function written(target: NodeJS.WriteStream, data: Uint8Array): Promise<void> {
  return new Promise((resolve) => target.write(data, () => resolve()));
}

/** Maximum bytes of collected output, the same as the API's. */
const MOST_COLLECTED = 1024 * 1024;

/** Collects output for a single JSON value, in the API's form. */
class CollectedOutput {
  private readonly parts = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  private left = MOST_COLLECTED;
  private isCut = false;

  add(stream: 'stdout' | 'stderr', data: Uint8Array): void {
    const part = data.subarray(0, this.left);
    this.left -= part.length;
    this.isCut ||= part.length < data.length;
    this.parts[stream].push(part);
  }

  with(end: api.CommandEndView): api.CommandResultView {
    const { stdout, stderr } = this.parts;
    const outputs = { stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
    return { ...end, exitCode: end.exit_code, truncated: this.isCut, ...outputs };
  }
}

async function logs(
  session: Session,
  { name, process: wanted, isFollowed }: { name: string; process: string | undefined; isFollowed: boolean },
): Promise<void> {
  const { berth, isJson, signal } = session;
  const id = await findId(session, name);
  const pid = wanted ?? (await lastProcess(session, id)).id;
  if (isFollowed) {
    for await (const message of berth.processes.follow(id, pid, { signal, after: 0 })) {
      if (isJson) sayJsonLine(message);
      else if (message.type === 'output') process[message.stream].write(message.data);
      else if (message.type === 'gap') note('[what came here is no longer kept]');
      else note(`[${message.reason}${message.exit_code === null ? '' : ` ${String(message.exit_code)}`}]`);
    }
    return;
  }
  for (let after = 0; ;) {
    const page = await berth.processes.output(id, pid, { after, signal });
    if (isJson) for (const chunk of page.output) sayJsonLine(chunk);
    else for (const { stream, data } of page.output) process[stream].write(data);
    if (page.output.length === 0) return;
    after = page.next;
  }
}

async function lastProcess({ berth, signal }: Session, id: string): Promise<api.ProcessView> {
  const all = await berth.processes.list(id, { signal });
  const [last] = all.toSorted((one, other) => Date.parse(other.started_at) - Date.parse(one.started_at));
  if (!last) throw new CliError('no process was started in it: see `create --start`', 4);
  return last;
}

async function stats(session: Session, name: string, isFollowed: boolean): Promise<void> {
  const { berth, isJson, signal } = session;
  const id = await findId(session, name);
  if (!isFollowed) {
    const now = await berth.stats.get(id, { signal });
    if (isJson) sayJson(now);
    else sayTable(STATS_HEAD, [statsRow(now)]);
    return;
  }
  for await (const message of berth.stats.follow(id, { signal })) {
    if (isJson) sayJsonLine(message);
    else if (message.type === 'end') note(`[${message.reason}]`);
    else sayTable(STATS_HEAD, [statsRow(message)]);
  }
}

const STATS_HEAD = ['CPU', 'MEMORY', 'LIMIT', 'RECEIVED', 'SENT'];

function statsRow({ cpu, memory, network }: api.StatsView): (string | null)[] {
  return [
    `${cpu.percent_of_limit === null ? '-' : String(cpu.percent_of_limit)}%`,
    bytes(memory.used_bytes),
    memory.limit_bytes === null ? null : bytes(memory.limit_bytes),
    network && bytes(network.rx_bytes),
    network && bytes(network.tx_bytes),
  ];
}

import { Readable } from 'node:stream';
import type * as api from '@berth/client';
import { type Command, Option } from 'commander';
import { copy } from './copy.ts';
import { CliError, NOT_RUN, notRun, USAGE } from './exit.ts';
import { age, bytes, inWords, note, say, sayCutTable, sayJson, sayJsonLine } from './output.ts';
import { findId, Interrupted, openSession, type Session, wholeId } from './session.ts';
import { openShell, runInTerminal, type ShellOptions } from './shell.ts';
import { quoted } from './show.ts';
import { lineCount, moreThanZero, pair } from './values.ts';

export function addInsideCommands(program: Command): void {
  program
    .command('exec <container> <command...>')
    .description('Run a command and exit with its exit code')
    .option('-i, --interactive', 'Forward standard input')
    .option('-t, --tty', 'Allocate a terminal; with -i for interactive programs')
    .option('-d, --detach', 'Run it in the background and print its id for `berth logs`')
    .option('-w, --workdir <directory>', 'Working directory')
    .option('-u, --user <user>', 'User, such as root or 1000:1000')
    .option('-e, --env <NAME=VALUE>', 'Environment variable (repeatable)', pair)
    .option('--timeout <seconds>', 'Terminate it after this time', moreThanZero)
    // Names of version 0.5.
    .addOption(new Option('--stdin').hideHelp())
    .addOption(new Option('--cwd <directory>').hideHelp())
    .passThroughOptions()
    .action(async (name: string, words: readonly string[], options: ExecOptions, command: Command) =>
      exec(await openSession(command), { name, words: words[0] === '--' ? words.slice(1) : words, options }),
    );
  program
    .command('sh <container>')
    .description('Open a shell; Ctrl-] detaches and keeps it running')
    .option('-a, --attach [session]', 'Attach to an open terminal; give its id if there are several')
    .option('--watch', 'Watch without typing')
    .action(async (name: string, options: ShellOptions, command: Command) =>
      openShell(await openSession(command), name, options),
    );
  program
    .command('cp <from> <to>')
    .description('Copy files and directories, as CONTAINER:PATH; "-" is standard input or output')
    .action(async (from: string, to: string, _: unknown, command: Command) =>
      copy(await openSession(command), from, to),
    );
  program
    .command('logs <container> [process]')
    .description('Show output of the start command, or of a process by its id')
    .option('-f, --follow', 'Also show new output')
    .option('-n, --tail <lines>', 'Show only the last lines', lineCount)
    .option('-t, --timestamps', 'Show when each line was written')
    .action(async (name: string, process: string | undefined, options: LogOptions, command: Command) =>
      logs(await openSession(command), { name, process }, options),
    );
  program
    .command('top <container>')
    .description('List the start command and processes, with their ids for `logs`')
    .action(async (name: string, _: unknown, command: Command) => processes(await openSession(command), name));
}

async function processes(session: Session, name: string): Promise<void> {
  const { berth, isJson, signal } = session;
  const all = await berth.processes.list(await findId(session, name), { signal });
  if (isJson) {
    sayJson(all);
    return;
  }
  const rows = all.map((each) => [
    each.id.slice(0, 8),
    each.start ? 'start command' : 'process',
    each.status === 'running'
      ? 'running'
      : `${inWords(each.reason ?? each.status)} ${String(each.exit_code ?? '')}`.trimEnd(),
    each.output_bytes === null ? null : bytes(each.output_bytes),
    age(each.started_at),
    // Servers of version 0.5 tell only the program, and others if another process of the server holds it.
    each.command ? quoted(each.command) : each.program,
  ]);
  sayCutTable(['ID', 'KIND', 'STATUS', 'OUTPUT', 'AGE', 'COMMAND'], rows);
}

interface LogOptions {
  readonly follow?: boolean;
  readonly tail?: number;
  readonly timestamps?: boolean;
}

interface ExecOptions {
  readonly interactive?: boolean;
  readonly stdin?: boolean;
  readonly tty?: boolean;
  readonly detach?: boolean;
  readonly workdir?: string;
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
  const { tty, detach, workdir, cwd = workdir, user, env, timeout } = options;
  const isFed = options.interactive === true || options.stdin === true;
  const where = {
    ...(cwd !== undefined && { cwd }),
    ...(user !== undefined && { user }),
    ...(env && { env }),
  };
  if ((tty || detach) && timeout !== undefined) {
    throw new CliError('--timeout does not work with -t or -d', USAGE);
  }
  if (detach && (tty || isFed)) throw new CliError('-d does not work with -i or -t', USAGE);
  if (tty && isJson) throw new CliError('--json does not work with -t', USAGE);
  try {
    const id = await findId(session, name);
    if (tty) {
      await runInTerminal(session, { id, program: { command: words, ...where }, isTyped: isFed });
      return;
    }
    if (detach) {
      const started = await berth.processes.start(id, words, { ...where, signal });
      if (isJson) sayJson(started);
      else say(started.id);
      return;
    }
    const request = {
      ...where,
      ...(isFed && { input: Readable.toWeb(process.stdin) as ReadableStream<Uint8Array> }),
      ...(timeout !== undefined && { timeout_ms: timeout * 1_000 }),
      signal,
    };
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
      else if (message.timed_out) note('berth: exec: the command was terminated by --timeout');
      process.exitCode = message.exit_code ?? NOT_RUN;
    }
  } catch (error) {
    if (!(error instanceof CliError || error instanceof Interrupted)) process.exitCode = notRun(error);
    throw error;
  } finally {
    // Otherwise an open stdin would keep this process alive.
    if (isFed) process.stdin.destroy();
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
  { name, process: wanted }: { readonly name: string; readonly process: string | undefined },
  { follow, tail, timestamps: times }: LogOptions,
): Promise<void> {
  const { berth, isJson, signal } = session;
  const id = await findId(session, name);
  const pid = wanted === undefined ? (await mainProcess(session, id)).id : await processId(session, id, wanted);
  const stamped = times === true ? stampLines() : undefined;
  const show = (chunk: api.OutputChunkView): void => {
    if (isJson) sayJsonLine(chunk);
    else process[chunk.stream].write(stamped?.(chunk) ?? chunk.data);
  };
  const withTimes = times === true ? { times } : {};
  const source = { id, pid, ...withTimes };
  let after = 0;
  if (tail === undefined && follow !== true) {
    for await (const page of pagesOf(session, source)) page.output.forEach(show);
    return;
  }
  if (tail !== undefined) {
    const kept: api.OutputChunkView[] = [];
    for await (const page of pagesOf(session, source)) {
      kept.push(...page.output);
      after = page.next;
    }
    lastLines(kept, tail).forEach(show);
  }
  if (follow !== true) return;
  for await (const message of berth.processes.follow(id, pid, { signal, after, ...withTimes })) {
    if (message.type === 'output') show(message);
    else if (isJson) sayJsonLine(message);
    else if (message.type === 'gap') note('[earlier output is no longer stored]');
    else note(`[${inWords(message.reason)}${message.exit_code === null ? '' : ` ${String(message.exit_code)}`}]`);
  }
}

/** Puts in front of each line when it began. */
function stampLines(): (chunk: api.OutputChunkView) => string {
  /** The outputs that are within a line. */
  const open = new Set<api.OutputChunkView['stream']>();
  return ({ stream, data, time = '' }) => {
    const text = data.replaceAll(/\n(?!$)/g, `\n${time} `);
    const stamped = open.has(stream) ? text : `${time} ${text}`;
    if (data.endsWith('\n')) open.delete(stream);
    else open.add(stream);
    return stamped;
  };
}

interface Source {
  readonly id: string;
  readonly pid: string;
  readonly times?: boolean;
}

async function* pagesOf(
  { berth, signal }: Session,
  { id, pid, ...options }: Source,
): AsyncGenerator<api.ProcessOutputView> {
  for (let after = 0; ;) {
    const page = await berth.processes.output(id, pid, { ...options, after, signal });
    if (page.output.length === 0) return;
    yield page;
    after = page.next;
  }
}

/** The end of an output: the chunks from the last `count` lines on. An unfinished line counts as one. */
function lastLines(chunks: readonly api.OutputChunkView[], count: number): api.OutputChunkView[] {
  const last = chunks.at(-1);
  let left = count;
  const kept: api.OutputChunkView[] = [];
  for (const chunk of chunks.toReversed()) {
    // The line feed that ends the output begins no line.
    let at = chunk === last && chunk.data.endsWith('\n') ? chunk.data.length - 1 : chunk.data.length;
    while (left > 0 && at > 0) {
      at = chunk.data.lastIndexOf('\n', at - 1);
      if (at < 0) break;
      left--;
    }
    if (left > 0) {
      kept.unshift(chunk);
      continue;
    }
    const data = chunk.data.slice(at + 1);
    if (data !== '') kept.unshift({ ...chunk, data });
    break;
  }
  return kept;
}

/** @param wanted the id of a process, or its beginning */
async function processId({ berth, signal }: Session, id: string, wanted: string): Promise<string> {
  return wholeId(wanted, await berth.processes.list(id, { signal }));
}

/** The latest run of the start command; without one, the process that was started last. */
async function mainProcess({ berth, signal }: Session, id: string): Promise<api.ProcessView> {
  const all = await berth.processes.list(id, { signal });
  const [last] = all.toSorted(
    (one, other) =>
      Number(other.start) - Number(one.start) || Date.parse(other.started_at) - Date.parse(one.started_at),
  );
  if (!last) throw new CliError('no start command or process has run there. Start one with `berth exec -d`', 4);
  return last;
}

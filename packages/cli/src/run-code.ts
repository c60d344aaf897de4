import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type * as api from '@berth/client';
import type { Command } from 'commander';
import { CliError, USAGE } from './exit.ts';
import { note, printable, sayJson } from './output.ts';
import { findId, openSession, type Session } from './session.ts';
import { moreThanZero, pair } from './values.ts';

interface Options {
  readonly code?: string;
  readonly language?: string;
  readonly kernel?: string;
  readonly restart?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  readonly timeout?: number;
  readonly output: string;
}

/** Results that are written as files; the first that a result has. */
const PICTURES = ['png', 'jpeg', 'svg', 'pdf'] as const;

/** The most files of one name in a directory. */
const MOST_FILES = 10_000;

export function addRunCodeCommand(program: Command): void {
  program
    .command('run-code <container> [file]')
    .description('Run code in a kernel that keeps its variables; pictures are written as files')
    .option('-c, --code <code>', 'The code; otherwise it is read from the file, or from standard input')
    .option('-l, --language <language>', 'Language: python, javascript or bash')
    .option('-k, --kernel <name>', 'Kernel with variables of its own')
    .option('--restart', 'Restart the kernel first')
    .option('-e, --env <NAME=VALUE>', 'Environment variable (repeatable)', pair)
    .option('--timeout <seconds>', 'Interrupt it after this time', moreThanZero)
    .option('-o, --output <directory>', 'Directory for pictures', '.')
    .action(async (name: string, file: string | undefined, options: Options, command: Command) =>
      runCode(await openSession(command), { name, file, options }),
    );
}

async function runCode(
  session: Session,
  { name, file, options }: { name: string; file: string | undefined; options: Options },
): Promise<void> {
  const { berth, isJson, signal } = session;
  const { language, kernel, restart, env, timeout, output } = options;
  if (options.code !== undefined && file !== undefined) throw new CliError('give -c or a file, not both', USAGE);
  const code = options.code ?? (file === undefined || file === '-' ? await text(process.stdin) : await read(file));
  const request = {
    ...(language !== undefined && { language }),
    ...(kernel !== undefined && { context: kernel }),
    ...(restart === true && { restart }),
    ...(env && { env }),
    ...(timeout !== undefined && { timeout_ms: timeout * 1_000 }),
    signal,
  };
  const id = await findId(session, name);
  if (isJson) {
    const result = await berth.code.run(id, code, request);
    sayJson(result);
    if (result.exception !== null || result.interrupted !== null) process.exitCode = 1;
    return;
  }
  for await (const message of berth.code.stream(id, code, request)) {
    if (message.type === 'output') process[message.stream].write(message.data);
    else if (message.type === 'result') await show(message, output);
    else if (message.type === 'exception') {
      process.stderr.write(`${message.traceback || `${message.name}: ${message.value}`}\n`);
      process.exitCode = 1;
    } else if (message.type === 'end' && message.interrupted !== null) {
      note(`berth: run-code: the code was interrupted: ${message.interrupted}`);
      process.exitCode = 1;
    }
  }
}

async function read(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: unknown) => {
    throw new CliError(`cannot read ${printable(file)}: ${(error as Error).message}`, USAGE);
  });
}

async function show({ formats }: api.CodeShownView, folder: string): Promise<void> {
  const kind = PICTURES.find((each) => typeof formats[each] === 'string');
  if (kind === undefined) {
    const words = formats['text'] ?? formats['markdown'] ?? Object.keys(formats).join(', ');
    process.stdout.write(`${typeof words === 'string' ? words : JSON.stringify(words)}\n`);
    return;
  }
  const data = Buffer.from(String(formats[kind]), kind === 'svg' ? 'utf8' : 'base64');
  note(await writeNew(folder, kind, data));
}

/** Writes a file under the first number that is free. */
async function writeNew(folder: string, kind: string, data: Buffer): Promise<string> {
  for (let number = 1; number <= MOST_FILES; number++) {
    const path = join(folder, `result-${String(number)}.${kind}`);
    try {
      await writeFile(path, data, { flag: 'wx' });
      return path;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== 'EEXIST') throw new CliError(`cannot write ${printable(path)}: ${message}`);
    }
  }
  throw new CliError(`there are ${String(MOST_FILES)} results in ${printable(folder)} already`);
}

import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { CliError, USAGE } from './exit.ts';
import { printable } from './output.ts';
import { interruption } from './session.ts';

/** Asks for confirmation at the terminal. @throws CliError unless the answer is yes, and if there is no terminal */
export async function confirm(question: string): Promise<void> {
  if (!process.stdin.isTTY)
    throw new CliError('confirmation needs a terminal. Use --yes to confirm', USAGE, [`  ${question}`]);
  const answer = await ask(`${printable(question)} [y/N] `, process.stderr);
  if (!/^y(es)?$/i.test(answer)) throw new CliError('cancelled, nothing was changed');
}

/** Asks without echoing the input. */
export async function askSecret(question: string): Promise<string> {
  process.stderr.write(question);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  try {
    return await ask('', silent);
  } finally {
    process.stderr.write('\n');
  }
}

/** @throws Interrupted at Ctrl-C, which readline does not pass on to the process */
async function ask(question: string, output: NodeJS.WritableStream): Promise<string> {
  const line = createInterface({ input: process.stdin, output, terminal: true });
  line.once('SIGINT', () => process.emit('SIGINT'));
  try {
    return (await line.question(question, { signal: interruption })).trim();
  } catch (error) {
    interruption.throwIfAborted();
    throw error;
  } finally {
    line.close();
  }
}

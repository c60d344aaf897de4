import { CommanderError } from 'commander';
import { exitCodeOf, linesOf, USAGE } from './exit.ts';
import { note } from './output.ts';
import { createProgram } from './program.ts';
import { Interrupted, listenForInterrupts } from './session.ts';

/** The version of packages/cli/package.json, set by the build. */
declare const VERSION: string;

async function main(): Promise<void> {
  listenForInterrupts();
  // `berth ls | head` ends silently.
  process.stdout.on('error', () => process.exit(0));
  try {
    await createProgram(VERSION).parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : USAGE;
    } else if (error instanceof Interrupted) {
      process.exitCode = 130;
    } else {
      const [sentence, ...more] = linesOf(error);
      note(`berth: ${sentence}`, ...more);
      process.exitCode ??= exitCodeOf(error);
    }
  }
}

void main();

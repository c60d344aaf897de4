/**
 * One stack of things to undo before the process ends, run last-in first-out: at the normal end, after a failure,
 * and at SIGINT, SIGTERM or SIGHUP. What a SIGKILL leaves is the next run's to clean.
 */
import { stopCommands } from './command.mjs';
import { printFailure } from './problem.mjs';
import { say } from './steps.mjs';

/** npm passes a terminal's Ctrl-C on, so one press comes twice; only a later one means "hurry". */
const SAME_PRESS_MS = 1000;

const undo = [];
let stoppedAt = 0;
let ending;
const hurry = new AbortController();

/** True once a signal came or the end has begun: failures from then on are consequences, not causes. */
export const isEnding = () => ending !== undefined;

/**
 * @param {string} name
 * @param {(hurry: AbortSignal) => Promise<void> | void} work the signal is aborted at a second Ctrl-C: kill, do not
 *   wait
 */
export function atEnd(name, work) {
  undo.push({ name, work });
}

/** Undoes everything, once; later callers wait for the same end. */
export function runEnd() {
  ending ??= (async () => {
    await stopCommands();
    for (const { name, work } of undo.splice(0).reverse()) {
      try {
        await work(hurry.signal);
      } catch (error) {
        say(`! ${name}: ${error.message}`);
      }
    }
  })();
  return ending;
}

function onSignal(exitCode) {
  if (stoppedAt) {
    if (Date.now() - stoppedAt > SAME_PRESS_MS) hurry.abort();
    return;
  }
  stoppedAt = Date.now();
  say('→ stopping …');
  void runEnd().then(() => process.exit(exitCode));
}

/**
 * Runs a script's main function and ends the process with what it returns as exit code.
 * @param {() => Promise<number>} main
 * @param {{ exitCodeOnSignal?: number }} [options] a server that is asked to stop ends well; a cut-off test run does
 *   not
 */
export async function runScript(main, { exitCodeOnSignal = 130 } = {}) {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => onSignal(exitCodeOnSignal));
  // A closed terminal or pipe must not keep the clean-up from running.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  let exitCode;
  try {
    exitCode = await main();
  } catch (error) {
    if (isEnding()) return;
    printFailure(error);
    exitCode = 1;
  }
  if (stoppedAt) return;
  await runEnd();
  process.exit(exitCode);
}

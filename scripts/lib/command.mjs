/** Runs other programs: output is collected, the newest line is told, a failure carries the output's end. */
import { spawn } from 'node:child_process';
import { accessSync, constants, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { join } from 'node:path';
import { Problem } from './problem.mjs';
import { sendSignal } from './process-identity.mjs';

const TAIL_LINES = 15;
const running = new Set();
let stopping = false;

/** Debian keeps daemons in sbin folders, which are not in every user's PATH. */
export const searchPath = [...new Set(`${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`.split(':'))].join(
  ':',
);

/** @returns {string[]} the paths of all programs of that name, in the order of the search path */
export function findCommands(name) {
  return searchPath
    .split(':')
    .map((folder) => join(folder, name))
    .filter((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** @returns {string | undefined} the program's path */
export function findCommand(name) {
  return findCommands(name)[0];
}

export class CommandFailed extends Problem {
  /** @param {{ line: string, code: number | null, signal: string | null, output: string }} result */
  constructor({ line, code, signal, output }) {
    super(`\`${line}\` ended with ${signal ?? `code ${code}`}`, output.trim().split('\n').slice(-TAIL_LINES));
    this.code = code;
    this.output = output;
  }
}

/**
 * Of a process that leads a session: Linux shares the processors among sessions first, by a niceness of their own
 * (`autogroup`), and within each by that of its processes.
 */
function setNiceness(pid, niceness) {
  setPriority(pid, niceness);
  try {
    writeFileSync(`/proc/${pid}/autogroup`, String(niceness));
  } catch {
    // There are none, or it has ended.
  }
}

/**
 * @param {string} command @param {string[]} args
 * @param {{ env?: object, cwd?: string, onLine?: (line: string) => void, show?: boolean, whole?: boolean,
 *   cleanup?: boolean, uid?: number, gid?: number, inherit?: number, onStart?: (pid: number) => void,
 *   niceness?: number }} [options] show: pass the output through as well; whole: never cut it off half way (a package
 *   installation); cleanup: may run when everything else is being stopped; inherit: an open file that the program has
 *   as number 3; niceness: as of nice, it needs root below 0
 * @returns {Promise<string>} stdout and stderr, as they came
 * @throws CommandFailed
 */
export function run(command, args, options = {}) {
  const { env = process.env, cwd, onLine, show, whole, cleanup, uid, gid, inherit, onStart, niceness = 0 } = options;
  if (stopping && !cleanup) return Promise.reject(new Problem(`${command} is not run: stopping`));
  const line = [command, ...args].join(' ');
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      uid,
      gid,
      env: { ...env, PATH: searchPath },
      stdio: ['ignore', 'pipe', 'pipe', ...(inherit === undefined ? [] : [inherit])],
      // A group of its own: a terminal's Ctrl-C comes to us alone, and we pass it on to the whole group.
      detached: true,
    });
    const entry = { child, whole, ended: undefined };
    entry.ended = new Promise((ended) => child.once('close', ended));
    running.add(entry);
    if (child.pid && niceness !== 0) setNiceness(child.pid, niceness);
    if (child.pid) onStart?.(child.pid);
    let output = '';
    for (const [stream, through] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output += text;
        if (show) through.write(text);
        onLine?.(
          text
            .trimEnd()
            .split(/[\r\n]+/)
            .at(-1),
        );
      });
    }
    child.once('error', (error) => {
      running.delete(entry);
      reject(new Problem(`${command} cannot be run: ${error.message}`));
    });
    child.once('close', (code, signal) => {
      running.delete(entry);
      if (code === 0) resolve(output);
      else reject(new CommandFailed({ line, code, signal, output }));
    });
  });
}

/** Stops what still runs, and lets nothing new begin; a program that must not be cut off is waited for. */
export async function stopCommands() {
  stopping = true;
  await Promise.all(
    [...running].map(async ({ child, whole, ended }) => {
      const kill = (signal) => sendSignal(-child.pid, signal);
      if (!whole) kill('SIGTERM');
      const late = whole ? undefined : setTimeout(() => kill('SIGKILL'), 5000);
      await ended;
      clearTimeout(late);
    }),
  );
}

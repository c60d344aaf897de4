/**
 * Which process is meant, in a way that survives a SIGKILL: a process id alone is used again by another program,
 * together with its start time it is not.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** By when a process that is killed is over. */
const KILL_MS = 60_000;

/** @returns {string | undefined} when the process began; undefined if it is not there (or is a zombie) */
function startOf(pid) {
  try {
    // After the program's name, which may hold spaces and brackets: state is field 3, start time field 22.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    if (process.platform === 'linux') return undefined;
  }
  try {
    return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { stdio: ['ignore', 'pipe', 'ignore'] })
      .toString()
      .trim();
  } catch {
    return undefined;
  }
}

export function identityOf(pid) {
  return { pid, started: startOf(pid) };
}

export function isAlive(identity) {
  return (
    Number.isInteger(identity?.pid) && identity.started !== undefined && startOf(identity.pid) === identity.started
  );
}

/** @returns {string[]} the arguments of a process; empty if it is gone */
export function argumentsOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean);
  } catch {
    return [];
  }
}

/** Every process for which the test holds. Linux only: elsewhere there are no own daemons to look for. */
export function processesWhere(test) {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map(Number)
    .filter(test);
}

/**
 * Sends a signal to a process. That it has ended already is no failure: it may do so between any look and the signal.
 * @param {number} pid below 0 a process group @param {NodeJS.Signals} signal
 * @returns {boolean} whether there was a process
 */
export function sendSignal(pid, signal) {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    if (error.code === 'ESRCH') return false;
    throw error;
  }
}

async function endsWithin(identity, ms, hurry) {
  const until = performance.now() + ms;
  while (isAlive(identity) && performance.now() < until && !hurry?.aborted) await sleep(20);
  return !isAlive(identity);
}

/**
 * SIGTERM (or another signal), a bounded wait, then SIGKILL. Never signals a process that only has the same id.
 * @param {{ pid: number, started?: string }} identity
 * @param {{ signal?: NodeJS.Signals, graceMs?: number, hurry?: AbortSignal }} [options]
 * @returns {Promise<boolean>} false if it had to be killed
 */
export async function endProcess(identity, { signal = 'SIGTERM', graceMs = 10_000, hurry } = {}) {
  if (!isAlive(identity)) return true;
  sendSignal(identity.pid, signal);
  if (await endsWithin(identity, graceMs, hurry)) return true;
  sendSignal(identity.pid, 'SIGKILL');
  // In the kernel, on a dead disk, it may hang for longer; a signal does not change that.
  await endsWithin(identity, KILL_MS);
  return false;
}

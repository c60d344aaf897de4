/** One run at a time in one folder. A lock whose owner was killed is taken over. */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Problem } from './problem.mjs';
import { identityOf, isAlive } from './process-identity.mjs';

export class AlreadyRunning extends Problem {
  constructor(what, pid) {
    super(`${what} is already running in this folder (process ${pid}).`, [
      `Use that one, or stop it with Ctrl-C in its terminal or \`kill ${pid}\`.`,
    ]);
    this.pid = pid;
  }
}

function read(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

/** @param {string} path @returns {object | undefined} what its owner has noted, if that lives */
export function notesOf(path) {
  const owner = read(path);
  return owner && isAlive(owner) ? owner : undefined;
}

/**
 * @param {string} path
 * @param {{ what: string }} options what is locked, for the message
 * @returns {{ previous?: object, note: (more: object) => void, release: () => void }}
 *   previous: what a killed owner had noted in the lock; note: writes such notes for the next run
 * @throws AlreadyRunning if another live process has it
 */
export function takeLock(path, { what }) {
  mkdirSync(dirname(path), { recursive: true });
  const mine = `${path}.${process.pid}`;
  const me = identityOf(process.pid);
  const write = (more = {}) => writeFileSync(mine, JSON.stringify({ ...me, ...more }), { mode: 0o600 });
  const refuse = (owner) => {
    rmSync(mine, { force: true });
    throw new AlreadyRunning(what, owner.pid);
  };
  let previous;
  write();
  for (;;) {
    try {
      // A hard link is made whole or not at all, so no process reads a half-written lock.
      linkSync(mine, path);
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const owner = read(path);
    if (owner && isAlive(owner)) refuse(owner);
    // Stale. Two processes may see that at once: only the one whose rename gets the dead lock may go on.
    const stale = `${path}.stale.${process.pid}`;
    try {
      renameSync(path, stale);
    } catch {
      continue;
    }
    const taken = read(stale);
    if (taken && isAlive(taken)) {
      renameSync(stale, path);
      refuse(taken);
    }
    rmSync(stale, { force: true });
    previous = taken ?? previous;
  }
  rmSync(mine, { force: true });
  return {
    previous,
    note(more) {
      write(more);
      renameSync(mine, path);
    },
    release() {
      if (read(path)?.pid === process.pid) rmSync(path, { force: true });
    },
  };
}

/**
 * One `npm start` or `npm run cluster` at a time in one folder. What a killed one left would hold its ports and act on
 * the same containers: it is ended first.
 */
import { join } from 'node:path';
import { endProcess } from './process-identity.mjs';
import { takeLock } from './process-lock.mjs';
import { makeDataFolder, runFolder } from './project.mjs';
import { atEnd } from './shutdown.mjs';

const END_MS = 20_000;

/**
 * @returns {Promise<{ remember: (name: string, process: { identity: object, stopSignal?: NodeJS.Signals }) => void }>}
 *   remember: notes a process for the run after a SIGKILL; one of the same name takes the place of an earlier one
 * @throws Problem if another live process has the folder
 */
export async function takeRunLock() {
  makeDataFolder();
  const lock = takeLock(join(runFolder, 'start.lock'), { what: '`npm start` or `npm run cluster`' });
  atEnd('releasing the lock', () => lock.release());
  const remembered = new Map();
  const left = lock.previous?.processes ?? [];
  // Noted again at once: this run may be killed as well before it has ended them.
  for (const [name, process] of left) remembered.set(name, process);
  lock.note({ processes: [...remembered] });
  // The latest first: servers before what they use.
  for (const [, { identity, signal }] of left.toReversed()) await endProcess(identity, { signal, graceMs: END_MS });
  remembered.clear();
  return {
    remember(name, { identity, stopSignal }) {
      remembered.set(name, { identity, signal: stopSignal });
      lock.note({ processes: [...remembered] });
    },
  };
}

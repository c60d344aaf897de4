/**
 * One `npm start` or `npm run cluster` at a time in one folder. What a killed one left would hold its ports and act on
 * the same containers: it is ended first.
 */
import { join } from 'node:path';
import { endProcess } from './process-identity.mjs';
import { notesOf, takeLock } from './process-lock.mjs';
import { makeDataFolder, runFolder } from './project.mjs';
import { atEnd } from './shutdown.mjs';

const END_MS = 20_000;
const path = join(runFolder, 'start.lock');

/** @returns {string | undefined} the DATABASE_URL of the server that runs in this folder */
export const databaseInUse = () => notesOf(path)?.database;

/**
 * @returns {Promise<{
 *   remember: (name: string, process: { identity: object, stopSignal?: NodeJS.Signals }) => void,
 *   uses: (database: string) => void,
 * }>}
 *   remember: notes a process for the run after a SIGKILL; one of the same name takes the place of an earlier one;
 *   uses: notes the database for `npm run token`
 * @throws Problem if another live process has the folder
 */
export async function takeRunLock() {
  makeDataFolder();
  const lock = takeLock(path, { what: '`npm start` or `npm run cluster`' });
  atEnd('releasing the lock', () => lock.release());
  const remembered = new Map();
  const left = lock.previous?.processes ?? [];
  // Noted again at once: this run may be killed as well before it has ended them.
  for (const [name, process] of left) remembered.set(name, process);
  lock.note({ processes: [...remembered] });
  // The latest first: servers before what they use.
  for (const [, { identity, signal }] of left.toReversed()) await endProcess(identity, { signal, graceMs: END_MS });
  remembered.clear();
  let database;
  const note = () => lock.note({ processes: [...remembered], database });
  return {
    remember(name, { identity, stopSignal }) {
      remembered.set(name, { identity, signal: stopSignal });
      note();
    },
    uses(url) {
      database = url;
      note();
    },
  };
}

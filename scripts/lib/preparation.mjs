/**
 * Installing and building are done by one process at a time: `npm start`, `npm test` and `npm run token` share
 * `node_modules` and `dist`. What a killed one still has running there is ended first.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { endGroups } from './process-groups.mjs';
import { AlreadyRunning, takeLock } from './process-lock.mjs';
import { dataFolder, makeDataFolder, projectRoot } from './project.mjs';
import { atEnd } from './shutdown.mjs';
import { say } from './steps.mjs';

async function waitForLock() {
  makeDataFolder();
  for (let tries = 0; ; tries += 1) {
    try {
      return takeLock(join(dataFolder, 'preparation.lock'), { what: 'An installation or build' });
    } catch (error) {
      if (!(error instanceof AlreadyRunning)) throw error;
      if (tries === 0) say(`→ waiting for process ${error.pid}, which installs or builds here …`);
      await sleep(300);
    }
  }
}

/**
 * @template T
 * @param {(remember: (group: number) => void) => Promise<T>} work `remember` takes the process group of a long command
 * @returns {Promise<T>}
 */
export async function preparingAlone(work) {
  const lock = await waitForLock();
  atEnd('releasing the preparation', () => lock.release());
  try {
    if (lock.previous?.group) await endGroups([lock.previous.group], [projectRoot]);
    return await work((group) => lock.note({ group }));
  } finally {
    lock.release();
  }
}

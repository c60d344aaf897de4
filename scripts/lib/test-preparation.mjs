/** What every test run begins with: alone in this folder, after what a killed one left. */
import { join } from 'node:path';
import { discardEarlierNodes } from './cluster/test-nodes.mjs';
import { checkNodeVersion } from './node-version.mjs';
import { takeLock } from './process-lock.mjs';
import { dataFolder, makeDataFolder } from './project.mjs';
import { atEnd } from './shutdown.mjs';
import { clearEarlierRemains, clearRemains } from './test-remains.mjs';
import { discardEarlierDockers } from './throwaway-docker.mjs';

/** @throws Problem */
export async function prepareTestRun() {
  checkNodeVersion();
  makeDataFolder();
  const lock = takeLock(join(dataFolder, 'test.lock'), { what: 'A test run' });
  atEnd('releasing the lock', () => lock.release());
  await clearEarlierRemains();
  await discardEarlierDockers();
  await discardEarlierNodes();
  atEnd('removing temporary files', clearRemains);
}

/** Where things of this project lie. */
import { createHash } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const projectRoot = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Everything that the scripts make and keep: database, own Docker, caches. In .gitignore. */
export const dataFolder = join(projectRoot, '.berth');
export const cacheFolder = join(dataFolder, 'cache');
export const testFolder = join(dataFolder, 'test');
/** What takes minutes to make and is the same for all checkouts of this user. */
export const userCacheFolder = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'berth');

/**
 * What `npm start` and `npm run cluster` run on. `BERTH_FOLDER` names another, so that two can run from one checkout.
 */
export const runFolder = process.env.BERTH_FOLDER ? resolve(process.env.BERTH_FOLDER) : dataFolder;

/**
 * A short folder for sockets, because a Unix socket's path may have 108 bytes only and a project may lie deep.
 * It is the same at every run of the same folder, so that a later run finds what a killed one left.
 */
export function runtimeFolder(path) {
  return `/run/berth-${createHash('sha256').update(path).digest('hex').slice(0, 8)}`;
}

/** Makes the data folder, and a folder of its kind. They hold tokens and users' data: for their owner alone. */
export function makeDataFolder(path = dataFolder) {
  for (const folder of [dataFolder, runFolder]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  mkdirSync(path, { recursive: true });
  return path;
}

/** Removes a folder, also where the children of what was killed still write into it for a moment. */
export function removeFolder(path) {
  rmSync(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
}

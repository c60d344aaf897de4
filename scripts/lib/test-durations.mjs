/**
 * How long each test file takes, by project. A run starts the longest files first (`test/support/longest-first.js`), by
 * the durations of earlier runs of this checkout, or else by the recorded ones of the project.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { cacheFolder, makeDataFolder, projectRoot } from './project.mjs';

/** Of this checkout. `test/support/longest-first.js` reads both. */
const OWN = join(cacheFolder, 'file-seconds.json');
/** Part of the project, for the first run of a checkout. `TEST_RECORD=true npm test -- all` updates it. */
const RECORDED = join(projectRoot, 'test', 'support', 'file-seconds.json');

/** Files that take less are not worth an order. */
const LEAST_S = 5;

function read(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

/** @param {Record<string, number>} seconds @returns {Record<string, number>} the longest first, without short ones */
function ordered(seconds) {
  const long = Object.entries(seconds).filter(([, taken]) => taken >= LEAST_S);
  return Object.fromEntries(long.sort(([, one], [, other]) => other - one));
}

/** Without the files that were removed or renamed since they were measured. */
function withoutMissing(seconds) {
  const isThere = (key) => existsSync(join(projectRoot, key.slice(key.indexOf(' ') + 1)));
  return Object.fromEntries(Object.entries(seconds).filter(([key]) => isThere(key)));
}

const write = (file, seconds) => writeFileSync(file, `${JSON.stringify(seconds, null, 2)}\n`);

export class TestDurations {
  /** Seconds by `project path`, of this run. */
  #measured = {};
  #files;

  /** @param {{ own: string, recorded: string }} [files] where durations are kept */
  constructor(files = { own: OWN, recorded: RECORDED }) {
    this.#files = files;
  }

  /** @param {object} report as `test/support/jest-report.js` writes it */
  add({ testResults }) {
    for (const { name, project, startTime, endTime } of testResults) {
      const key = `${project} ${relative(projectRoot, name)}`;
      // A file that runs again, by itself, is quicker than among others.
      this.#measured[key] ??= Math.round((endTime - startTime) / 1_000);
    }
  }

  /** @returns {Record<string, number>} the seconds of earlier runs by `project path` */
  get known() {
    return read(this.#files.own) ?? read(this.#files.recorded) ?? {};
  }

  /** @param {number} count @returns {string[]} a line for each of the longest files of this run */
  longest(count) {
    const entries = Object.entries(ordered(this.#measured)).slice(0, count);
    return entries.map(([file, seconds]) => `${seconds} s  ${file}`);
  }

  /** Keeps the durations for the next run. */
  save() {
    if (Object.keys(this.#measured).length === 0) return;
    const { own, recorded } = this.#files;
    const seconds = ordered({ ...this.known, ...this.#measured });
    makeDataFolder(cacheFolder);
    write(own, seconds);
    if (process.env.TEST_RECORD === 'true') write(recorded, withoutMissing(seconds));
  }
}

/** Of the runs of this process. */
export const durations = new TestDurations();

/**
 * What a test run starts and makes outside its own process, written down so that the next run can clean up after a
 * SIGKILL: process groups and a temporary folder.
 */
import { mkdtempSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { endGroups } from './process-groups.mjs';
import { makeDataFolder, projectRoot, removeFolder, testFolder } from './project.mjs';

const recordFile = join(testFolder, 'remains.json');
let record = { folder: undefined, groups: [] };

function save() {
  makeDataFolder(testFolder);
  // Whole at any time: a SIGKILL may come now.
  writeFileSync(`${recordFile}.new`, JSON.stringify(record));
  renameSync(`${recordFile}.new`, recordFile);
}

/**
 * A folder for this run: below the system's temporary one, because PostgreSQL refuses to run as root and its own user
 * may not be let into the project's folder.
 */
export function temporaryFolder() {
  if (!record.folder) {
    record.folder = mkdtempSync(join(tmpdir(), 'berth-test-'));
    save();
  }
  return record.folder;
}

/** Writes down the group of a child that was spawned detached. */
export function rememberGroup(pid) {
  record.groups.push(pid);
  save();
}

async function clear({ folder, groups }) {
  await endGroups(groups, [folder, projectRoot].filter(Boolean));
  if (folder) removeFolder(folder);
}

/** Cleans what a killed run left. */
export async function clearEarlierRemains() {
  try {
    await clear(JSON.parse(readFileSync(recordFile, 'utf8')));
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
}

/** Cleans what this run made. */
export async function clearRemains() {
  await clear(record);
  record = { folder: undefined, groups: [] };
  removeFolder(testFolder);
}

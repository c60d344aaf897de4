/** Process groups that a killed run left behind: an installation, a test runner, a database. */
import { readFileSync, readlinkSync } from 'node:fs';
import { endProcess, identityOf, processesWhere } from './process-identity.mjs';

function groupOf(pid) {
  try {
    return Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1).split(' ')[2]);
  } catch {
    return undefined;
  }
}

function worksIn(pid, folders) {
  try {
    const cwd = readlinkSync(`/proc/${pid}/cwd`);
    return folders.some((folder) => cwd === folder || cwd.startsWith(`${folder}/`));
  } catch {
    return false;
  }
}

/**
 * Ends the members of these groups that work in these folders. A group's number may have been given to other processes
 * since, but those work in other folders.
 * @param {number[]} groups @param {string[]} folders
 */
export async function endGroups(groups, folders) {
  if (process.platform !== 'linux') return;
  const left = processesWhere((pid) => groups.includes(groupOf(pid)) && worksIn(pid, folders));
  await Promise.all(left.map((pid) => endProcess(identityOf(pid), { graceMs: 3000 })));
}

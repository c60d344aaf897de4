/**
 * The processes and mounts of a Docker daemon of our own, found by the paths and container ids that are its alone,
 * so that no other Docker on the machine is ever touched.
 *
 * After a SIGKILL they stay behind: dockerd's child containerd dies with it, its shims and their containers do not.
 * A new dockerd that finds such containers alive stops them and does *not* apply their restart policy (Docker 26),
 * so they must be dead before it starts, as after a power cut; then `unless-stopped` brings them back.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './command.mjs';
import { argumentsOf, endProcess, identityOf, processesWhere } from './process-identity.mjs';
import { removeFolder } from './project.mjs';

/** @returns {number | undefined} the daemon's process id, if it is alive and is this one */
export function daemonProcess({ pidFile }) {
  return processesWhere((pid) => {
    const args = argumentsOf(pid);
    return args.includes('--pidfile') && args.includes(pidFile);
  })[0];
}

function containerIds({ dataRoot }) {
  try {
    return readdirSync(join(dataRoot, 'containers'));
  } catch {
    return [];
  }
}

/** Container processes do not name the daemon in their arguments; their cgroup names the container. */
function isInCgroupOf(pid, ids) {
  try {
    const cgroups = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
    return ids.some((id) => cgroups.includes(id));
  } catch {
    return false;
  }
}

async function killAll(pids) {
  await Promise.all(pids.map((pid) => endProcess(identityOf(pid), { signal: 'SIGKILL' })));
}

/** Kills what is left of one container that the daemon itself cannot remove. */
export async function killContainerProcesses(id) {
  const belongs = (pid) => isInCgroupOf(pid, [id]) || argumentsOf(pid).some((argument) => argument.includes(id));
  await killAll(processesWhere(belongs));
}

/** Mount points below a folder, the deepest first. */
function mountsBelow(folder) {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1]?.replace(/\\040/g, ' '))
    .filter((path) => path === folder || path?.startsWith(`${folder}/`))
    .reverse();
}

/**
 * Ends everything that a killed daemon left: shims, sandboxes, container processes, mounts, sockets, pid files.
 * Its data (images, volumes, containers) stays. Only to be called when the daemon itself is not alive.
 */
export async function clearLeftovers({ dataRoot, runtime, execRoot }) {
  const ids = containerIds({ dataRoot });
  const isOurs = (pid) =>
    argumentsOf(pid).some((argument) => argument.includes(`${execRoot}/`)) || isInCgroupOf(pid, ids);
  // Twice: a shim that dies last may have started a clean-up of its own.
  for (let round = 0; round < 2; round += 1) await killAll(processesWhere(isOurs));
  for (const path of [...mountsBelow(runtime), ...mountsBelow(dataRoot)]) {
    await run('umount', ['--lazy', path], { cleanup: true }).catch(() => {});
  }
  removeFolder(runtime);
}

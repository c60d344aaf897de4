import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';

/** Names and subcommands of gVisor's host processes: the sandbox itself (`boot`) and its file server (`gofer`). */
const PROGRAMS = ['runsc', 'runsc-sandbox', 'runsc-gofer', 'exe'];
const ROLES = ['boot', 'gofer'];

const DOCKER_ID = /^[0-9a-f]{64}$/;

/**
 * Kills gVisor's host processes of a container, if they run on this machine. Docker (26.1) stops a sandbox by
 * `runsc kill`, which asks the sandbox itself. If the sandbox hangs, Docker waits forever, and does not answer calls
 * about the container meanwhile. Docker notices the end of the killed processes.
 *
 * @returns `none` if no process was killed: none runs here, as with a Docker on another machine, or killing is not
 *   permitted
 */
export async function killSandbox(engineId: string): Promise<'killed' | 'none'> {
  if (!DOCKER_ID.test(engineId)) return 'none';
  const names = await readdir('/proc').catch(() => []);
  let outcome: 'killed' | 'none' = 'none';
  for (const pid of names.filter((name) => /^\d+$/.test(name))) {
    // A process that has ended meanwhile does not count.
    const line = await readFile(join('/proc', pid, 'cmdline'), 'utf8').catch(() => '');
    if (!isOfSandbox(line.split('\0'), engineId)) continue;
    try {
      process.kill(Number(pid), 'SIGKILL');
      outcome = 'killed';
    } catch {
      // The process is gone, or this user may not kill it.
    }
  }
  return outcome;
}

/**
 * Whether a command line belongs to a gVisor process of this container, which has the container's id as a separate
 * argument.
 */
function isOfSandbox([program = '', ...args]: readonly string[], engineId: string): boolean {
  return PROGRAMS.includes(basename(program)) && args.some((arg) => ROLES.includes(arg)) && args.includes(engineId);
}

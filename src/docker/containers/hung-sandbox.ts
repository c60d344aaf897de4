import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';

/** What gVisor calls its processes on the host, and what it has them do: the sandbox itself, and its file server. */
const PROGRAMS = ['runsc', 'runsc-sandbox', 'runsc-gofer', 'exe'];
const ROLES = ['boot', 'gofer'];

const DOCKER_ID = /^[0-9a-f]{64}$/;

/**
 * Kills gVisor's processes of a container from outside, where they are on this machine. Docker (26.1) asks the sandbox
 * itself to end, by `runsc kill`, and so waits without end for one that hangs; meanwhile it answers no question about
 * the container either. Docker notices the end by itself.
 *
 * @param proc the machine's `/proc`
 * @returns `none` where there is nothing of it here, as for a Docker on another machine, or it may not be killed
 */
export async function killSandbox(dockerId: string, proc = '/proc'): Promise<'killed' | 'none'> {
  if (!DOCKER_ID.test(dockerId)) return 'none';
  const names = await readdir(proc).catch(() => []);
  let outcome: 'killed' | 'none' = 'none';
  for (const pid of names.filter((name) => /^\d+$/.test(name))) {
    // A process that has ended meanwhile is none of them.
    const line = await readFile(join(proc, pid, 'cmdline'), 'utf8').catch(() => '');
    if (!isOfSandbox(line.split('\0'), dockerId)) continue;
    try {
      process.kill(Number(pid), 'SIGKILL');
      outcome = 'killed';
    } catch {
      // Gone, or not this user's to kill.
    }
  }
  return outcome;
}

/** Whether a command line is that of a process of gVisor's for this container: its id is an argument of its own. */
function isOfSandbox([program = '', ...args]: readonly string[], dockerId: string): boolean {
  return PROGRAMS.includes(basename(program)) && args.some((arg) => ROLES.includes(arg)) && args.includes(dockerId);
}

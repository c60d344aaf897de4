/** Keeps the processors from sleeping. */
import { spawn } from 'node:child_process';
import { cpus } from 'node:os';

/**
 * Figures in milliseconds, of many short steps that wait for each other, depend on how long a sleeping processor takes
 * to wake: on a virtual machine that did nothing else, a file took 1.6 times as long. So such figures are measured
 * beside one program for each processor that runs only where nothing else does.
 *
 * @template T @param {() => Promise<T>} work @returns {Promise<T>}
 */
export async function whileAwake(work) {
  const programs = cpus().map(() =>
    spawn('nice', ['-n', '19', 'sh', '-c', 'while :; do :; done'], { stdio: 'ignore' }),
  );
  try {
    return await work();
  } finally {
    for (const program of programs) program.kill('SIGKILL');
  }
}

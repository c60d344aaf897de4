/**
 * A server program of the machine's packages, run on data of the project's own: logged to a file, waited for, ended.
 */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, renameSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { searchPath } from './command.mjs';
import { Problem } from './problem.mjs';
import { endProcess, identityOf, isAlive } from './process-identity.mjs';

const LOG_LINES = 8;

export class ServiceProcess {
  /**
   * @param {string} name as it is called in messages
   * @param {{
   *   command: string, args: string[], cwd: string, uid?: number, gid?: number, inherit?: number, log: string,
   *   answers: () => Promise<boolean>, startMs: number, stopSignal?: NodeJS.Signals, stopMs: number
   * }} options inherit: an open file that the program has as number 3; log: the file of this run, that of the run
   * before gets `.1`
   *   behind its name
   */
  constructor(name, { command, args, cwd, uid, gid, inherit, log, answers, startMs, stopSignal = 'SIGTERM', stopMs }) {
    Object.assign(this, { name, log, answers, startMs, stopSignal, stopMs });
    if (existsSync(log)) renameSync(log, `${log}.1`);
    const output = openSync(log, 'w', 0o600);
    const child = spawn(command, args, {
      cwd,
      uid,
      gid,
      env: { ...process.env, PATH: searchPath },
      stdio: ['ignore', output, output, ...(inherit === undefined ? [] : [inherit])],
      // A session of its own: the terminal's Ctrl-C must not end it before those that use it.
      detached: true,
    });
    closeSync(output);
    this.pid = child.pid;
    this.identity = identityOf(child.pid);
    /** Resolves with how it ended: code or signal. */
    this.ended = new Promise((resolve) => {
      child.once('exit', (code, signal) => resolve({ code, signal }));
      child.once('error', () => resolve({ code: 1, signal: null }));
    });
  }

  /** @returns {Promise<true>} @throws Problem with the end of its log, if it does not answer in time */
  async untilReady() {
    const until = performance.now() + this.startMs;
    while (!(await this.answers())) {
      if (!isAlive(this.identity) || performance.now() > until) throw this.failure(`${this.name} did not start.`);
      await sleep(50);
    }
    return true;
  }

  /** @param {string} what @returns {Problem} */
  failure(what) {
    const lines = readFileSync(this.log, 'utf8').trim().split('\n').slice(-LOG_LINES);
    return new Problem(what, [...lines.map((line) => line.slice(0, 300)), `The whole log: ${this.log}`]);
  }

  /** @returns {Promise<boolean>} false if it had to be killed */
  stop({ hurry, signal = this.stopSignal } = {}) {
    return endProcess(this.identity, { signal, graceMs: this.stopMs, hurry });
  }
}

/** The API server as a child: started, waited for, drained. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { endProcess, identityOf } from './process-identity.mjs';
import { projectRoot } from './project.mjs';

/** The server lets running operations finish, for as long as it is set to; then it has this long to end. */
const DEFAULT_SHUTDOWN_GRACE_S = 30;
const END_MS = 20_000;
const SLOW_START_MS = 60_000;

export class ServerProcess {
  /**
   * @param {{ env: object, shutdownGraceSeconds?: string, onLine?: (line: string) => void }} options
   *   shutdownGraceSeconds: the setting as the person wrote it; onLine: gets what it prints, which else is printed as
   *   it is
   */
  constructor({ env, shutdownGraceSeconds, onLine }) {
    const output = onLine ? 'pipe' : 'inherit';
    this.graceMs = (Number(shutdownGraceSeconds) || DEFAULT_SHUTDOWN_GRACE_S) * 1000 + END_MS;
    this.child = spawn(process.execPath, ['--enable-source-maps', join('dist', 'src', 'main.js')], {
      cwd: projectRoot,
      env,
      stdio: ['ignore', output, output, 'ipc'],
      // Its own group: at Ctrl-C the server is told once, by us, in its turn.
      detached: true,
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      if (stream) createInterface({ input: stream }).on('line', onLine);
    }
    this.identity = identityOf(this.child.pid);
    /** Resolves with how it ended: code or signal. */
    this.ended = new Promise((resolve) => {
      this.child.once('exit', (code, signal) => resolve({ code, signal }));
      this.child.once('error', () => resolve({ code: 1, signal: null }));
    });
  }

  /** @returns {Promise<string | undefined>} its URL once it listens; undefined if it ended before */
  untilReady({ onSlow = () => {} } = {}) {
    return new Promise((resolve) => {
      const slow = setTimeout(onSlow, SLOW_START_MS);
      const settle = (url) => {
        clearTimeout(slow);
        resolve(url);
      };
      this.child.on('message', (message) => {
        if (message?.type === 'ready') settle(message.url);
      });
      void this.ended.then(() => settle(undefined));
    });
  }

  /** @returns {Promise<boolean>} false if it had to be killed */
  stop({ hurry } = {}) {
    return endProcess(this.identity, { graceMs: this.graceMs, hurry });
  }
}

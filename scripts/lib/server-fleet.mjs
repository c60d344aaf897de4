/** Several server processes on ports in a row: started together, each kept running, each line told whose it is. */
import { KeptRunning } from './kept-running.mjs';
import { Problem } from './problem.mjs';
import { ServerProcess } from './server-process.mjs';
import { isEnding } from './shutdown.mjs';
import { say } from './steps.mjs';

export class ServerFleet {
  /**
   * @param {{ count: number, env: object, shutdownGraceSeconds?: string, remember: (name: string,
   *   process: object) => void }} options env: for all of them, with the first one's PORT; remember: told of each
   *   process, for the run after a SIGKILL
   */
  constructor({ count, env, shutdownGraceSeconds, remember }) {
    const first = Number(env.PORT);
    this.servers = Array.from({ length: count }, (_none, index) => {
      // Port 0 is any free one, and stays that server's once it has it.
      const server = { name: `server ${index + 1}`, port: first === 0 ? 0 : first + index, url: '', pid: 0 };
      const launch = () => {
        const child = new ServerProcess({
          env: { ...env, PORT: String(server.port) },
          shutdownGraceSeconds,
          onLine: (line) => say(`[${index + 1}] ${line}`),
        });
        remember(server.name, child);
        return child;
      };
      server.kept = new KeptRunning(server.name, { launch, onReady: (child, url) => this.ready(server, child, url) });
      return server;
    });
  }

  /** @returns {Promise<{ name: string, url: string, pid: number }[]>} once all are ready @throws Problem */
  async start() {
    const starts = await Promise.allSettled(this.servers.map(({ kept }) => kept.start()));
    const failed = starts.find(({ status }) => status === 'rejected');
    if (failed) throw failed.reason instanceof Error ? failed.reason : new Problem(String(failed.reason));
    return this.servers;
  }

  /** @returns {Promise<string[]>} the names of those that had to be killed */
  async stop({ hurry } = {}) {
    const ends = await Promise.all(this.servers.map(({ kept }) => kept.stop({ hurry })));
    return this.servers.filter((_server, index) => !ends[index]).map(({ name }) => name);
  }

  ready(server, { identity: { pid } }, url) {
    const isBack = server.pid !== 0;
    Object.assign(server, { url, pid, port: new URL(url).port });
    if (isBack && !isEnding()) say(`✓ ${server.name} is back: ${url} (process ${pid})`);
  }
}

/** Starts and asks the Docker of `memory-docker.mjs`. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { projectRoot } from '../../scripts/lib/project.mjs';

export class MemoryDocker {
  static async start() {
    const folder = mkdtempSync(join(tmpdir(), 'berth-bench-'));
    const socketPath = join(folder, 'docker.sock');
    const child = fork(join(projectRoot, 'bench', 'lib', 'memory-docker.mjs'), [socketPath]);
    await once(child, 'message');
    return Object.assign(new MemoryDocker(), { child, folder, socketPath, host: `unix://${socketPath}` });
  }

  /** @returns {Promise<string[]>} the Docker ids of containers that are made, running */
  add(containers) {
    return this.call('POST', '/bench/containers', containers);
  }

  /** @returns {Promise<number>} how often its containers were listed */
  async lists() {
    return (await this.call('GET', '/bench/lists')).lists;
  }

  async call(method, path, body) {
    const asked = request({ socketPath: this.socketPath, method, path });
    asked.end(body && JSON.stringify(body));
    const [answer] = await once(asked, 'response');
    return json(answer);
  }

  async stop() {
    const ended = once(this.child, 'exit');
    this.child.disconnect();
    await ended;
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Starts and asks the Dockers of `memory-docker.mjs`. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { makeCertificates } from '../../scripts/lib/cluster/certificates.mjs';
import { projectRoot } from '../../scripts/lib/project.mjs';

const JSON_HEADERS = { 'content-type': 'application/json' };

/** A process with Dockers in memory, and its folder. */
class MemoryProcess {
  async stop() {
    const ended = once(this.child, 'exit');
    this.child.disconnect();
    await ended;
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export class MemoryDocker extends MemoryProcess {
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
    const asked = request({ socketPath: this.socketPath, method, path, headers: JSON_HEADERS });
    asked.end(body && JSON.stringify(body));
    const [answer] = await once(asked, 'response');
    return json(answer);
  }
}

/** Many in one process, the nodes of a Swarm. */
export class MemoryNodes extends MemoryProcess {
  static async start(count) {
    const folder = mkdtempSync(join(tmpdir(), 'berth-bench-'));
    const keys = join(folder, 'keys');
    const addresses = Array.from({ length: count }, (_each, at) => `127.1.${Math.floor(at / 250)}.${(at % 250) + 1}`);
    await makeCertificates(keys, [{ name: 'node', addresses }]);
    const child = fork(join(projectRoot, 'bench', 'lib', 'memory-docker.mjs'), ['--nodes', keys, ...addresses]);
    const failed = once(child, 'exit').then(([code]) => {
      throw new Error(`the nodes ended with ${code} before they were ready`);
    });
    const [{ nodes }] = await Promise.race([once(child, 'message'), failed]);
    failed.catch(() => undefined);
    const tls = Object.fromEntries(
      ['ca', 'cert', 'key'].map((name) => [name, readFileSync(join(keys, `${name}.pem`))]),
    );
    const env = { CLUSTER: 'swarm', CLUSTER_MANAGERS: nodes[0].host, CLUSTER_CERT_PATH: keys };
    return Object.assign(new MemoryNodes(), { child, folder, nodes, tls, env });
  }

  /** @param {{ host: string }} node @returns {Promise<string[]>} the Docker ids of containers that are made, running */
  async add({ host }, containers) {
    const { hostname, port } = new URL(host);
    const sent = { method: 'POST', path: '/bench/containers', headers: JSON_HEADERS };
    const asked = tlsRequest({ ...this.tls, hostname, port, ...sent });
    asked.end(JSON.stringify(containers));
    const [answer] = await once(asked, 'response');
    return json(answer);
  }
}

/**
 * Real Docker nodes in a Swarm, on one machine: each daemon in a network namespace of its own, with Docker's API over
 * mutual TLS. It stands beside any Docker and any firewall that is there, and leaves nothing when it is stopped.
 */
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { canInstallPackages, ensurePackages } from '../apt.mjs';
import { findCommand, run } from '../command.mjs';
import { runtimeName } from '../gvisor.mjs';
import { Problem } from '../problem.mjs';
import { makeDataFolder } from '../project.mjs';
import { step } from '../steps.mjs';
import { makeCertificates } from './certificates.mjs';
import { ClusterNode } from './cluster-node.mjs';
import { NodeNetwork } from './node-network.mjs';
import { changeNode, formSwarm, isManager, untilReady } from './swarm.mjs';

export class NodeCluster {
  /** @param {string} folder where everything of it lies @param {{ count: number }} options how many nodes */
  constructor(folder, { count }) {
    Object.assign(this, { folder, count });
    this.certificates = join(folder, 'tls');
    this.state = join(folder, 'network.json');
    this.network = new NodeNetwork(folder, readState(this.state).subnet);
    this.nodes = Array.from({ length: count }, (_none, index) => this.nodeOf(index + 1));
  }

  nodeOf(number) {
    const { folder, certificates, network } = this;
    return new ClusterNode({ number, folder: join(folder, 'nodes'), certificates, network });
  }

  /** @param {number} number from 1 */
  node(number) {
    return this.nodes[number - 1];
  }

  /**
   * Starts it, with what it had before. There is something to be stopped from the first moment on, so `stop` is to be
   * arranged before.
   * @param {{ labels?: (node: ClusterNode) => Record<string, string> }} [options] of each node, in the Swarm
   * @throws Problem
   */
  async start({ labels = evenShare(this.count) } = {}) {
    await installWhatNodesNeed();
    makeDataFolder(this.folder);
    await this.clear();
    const subnet = await this.network.up();
    writeFileSync(this.state, JSON.stringify({ subnet }), { mode: 0o600 });
    const named = this.nodes.map(({ name, address }) => ({ name, addresses: [address] }));
    await makeCertificates(this.certificates, named);
    // At once: a manager that has been one before answers late while it sees no others.
    await step(`starting ${this.count} Docker nodes`, () => allOver(this.nodes.map((node) => node.start())));
    await step('making a Swarm of them', async () => {
      await formSwarm(this.nodes);
      for (const node of this.nodes) await changeNode(this.nodes[0], node.name, { labels: labels(node) });
    });
  }

  /** Until the Swarm sees all nodes. */
  untilReady() {
    return untilReady(this.nodes);
  }

  /** @returns {string[]} the Docker APIs of the managers */
  get managers() {
    return this.nodes.filter(isManager).map(({ host }) => host);
  }

  /** What Berth's servers need to know. */
  get environment() {
    return { CLUSTER: 'swarm', CLUSTER_MANAGERS: this.managers.join(','), CLUSTER_CERT_PATH: this.certificates };
  }

  /** @param {{ hurry?: AbortSignal, kill?: boolean }} [options] kill: containers are not worth a stop in good order */
  async stop({ hurry, kill = false } = {}) {
    if (!kill) await Promise.all(this.nodes.map((node) => node.stop({ hurry })));
    await this.clear();
    await this.network.down();
  }

  /** Ends what a killed run left, of more nodes than there are now as well. */
  async clear() {
    const folder = join(this.folder, 'nodes');
    const left = existsSync(folder) ? readdirSync(folder) : [];
    const numbers = left.map((name) => Number(/^node(\d+)$/.exec(name)?.[1])).filter(Boolean);
    for (const number of numbers) await (this.node(number) ?? this.nodeOf(number)).clear();
    await this.network.clear();
  }

  /** Its data, too. */
  async discard() {
    await this.stop({ kill: true });
    // Images are tens of thousands of files, which this process would do nothing else with meanwhile.
    await run('rm', ['-rf', '--', this.folder], { cleanup: true });
  }
}

/** Waits for all of it, so that what begins is there to be stopped. @param {Promise<unknown>[]} work */
async function allOver(work) {
  for (const result of await Promise.allSettled(work)) if (result.status === 'rejected') throw result.reason;
}

/** On one machine each node reports all of its memory and processors. */
function evenShare(count) {
  const memory = Math.floor(totalmem() / 2 ** 20 / count);
  return () => ({ 'berth.memory': String(memory), 'berth.cpus': String(Math.max(1, cpus().length / count)) });
}

/** @throws Problem */
async function installWhatNodesNeed() {
  const programs = { 'docker.io': 'dockerd', [runtimeName]: runtimeName, iptables: 'iptables', iproute2: 'ip' };
  const isThere = Object.values(programs).every(findCommand);
  if (process.platform !== 'linux' || process.getuid() !== 0 || !(isThere || canInstallPackages())) {
    throw new Problem('Nodes are made of network namespaces and Docker daemons, which only root on Linux can start.', [
      'Several servers on one Docker: npm run cluster -- --processes 3. Real machines: docs/cluster.md',
    ]);
  }
  await ensurePackages(programs, { services: ['docker.service', 'docker.socket', 'containerd.service'] });
}

function readState(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return {};
  }
}

/** One node of a cluster on this machine: a Docker daemon in a network namespace and under a host name of its own. */
import { join } from 'node:path';
import { findGvisor, runtimeName, safeArguments } from '../gvisor.mjs';
import { OwnDaemon } from '../own-daemon.mjs';
import { clearLeftovers, daemonProcess } from '../own-daemon-processes.mjs';
import { endProcess, identityOf } from '../process-identity.mjs';
import { certificateOf, keyOf } from './certificates.mjs';

/** The port of Docker's API over TLS. */
const PORT = 2376;

export class ClusterNode {
  /**
   * @param {{ number: number, folder: string, certificates: string,
   *   network: import('./node-network.mjs').NodeNetwork }} options number: from 1; folder: for its data
   */
  constructor({ number, folder, certificates, network }) {
    Object.assign(this, { number, certificates, network, name: nameOf(number) });
    const namespace = `--net=/run/netns/${network.namespace(number)}`;
    // `ip netns exec` would mount another /sys, without the cgroups.
    const within = ['nsenter', namespace, 'unshare', '--uts', 'sh', '-c', 'hostname "$0" && exec "$@"', this.name];
    this.daemon = new OwnDaemon(join(folder, this.name), { within, hosts: () => [this.host] });
    this.isCut = false;
  }

  get address() {
    return this.network.address(this.number);
  }

  get host() {
    return `tcp://${this.address}:${PORT}`;
  }

  get api() {
    return this.daemon.api;
  }

  /** As a machine that boots: its network has nothing of before. */
  async start() {
    await this.network.addNode(this.number);
    const file = (name) => join(this.certificates, name);
    this.daemon.writeConfig({
      runtimes: { [runtimeName]: { path: await findGvisor(), runtimeArgs: safeArguments } },
      tlsverify: true,
      tlscacert: file('ca.pem'),
      tlscert: file(certificateOf(this.name)),
      tlskey: file(keyOf(this.name)),
    });
    await this.daemon.start();
    if (this.isCut) await this.cut();
  }

  /** As a machine without power: the daemon, its sandboxes, and every connection to it. */
  async kill() {
    const { daemon } = this;
    if (daemon.identity) await endProcess(daemon.identity, { signal: 'SIGKILL' });
    await this.clear();
  }

  /** In good order, its containers with it. */
  async stop({ hurry } = {}) {
    await this.daemon.stop({ hurry });
  }

  async restart() {
    await this.daemon.restart({ kill: false });
  }

  /** Also of one that does not run, for its next start. */
  async cut() {
    this.isCut = true;
    if (this.isRunning) await this.network.cut(this.number);
  }

  async heal() {
    this.isCut = false;
    if (this.isRunning) await this.network.heal(this.number);
  }

  get isRunning() {
    return this.daemon.identity !== undefined;
  }

  /** Ends what runs of it, also of a killed run. */
  async clear() {
    const alive = daemonProcess(this.daemon.paths);
    if (alive !== undefined) await endProcess(identityOf(alive), { signal: 'SIGKILL' });
    await clearLeftovers(this.daemon.paths);
    this.daemon.identity = undefined;
    await this.network.removeNode(this.number);
  }
}

export const nameOf = (number) => `node${number}`;

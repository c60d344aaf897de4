import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Docker from 'dockerode';
import type { ClientCertificate } from '../../../src/docker/connection/client';
import { askForAction } from '../faults/control-socket';
import { eventually } from '../eventually';
import { RealDocker } from './real-docker';

interface DescribedNode {
  /** Its id in the Swarm. */
  readonly id: string;
  readonly name: string;
  readonly address: string;
  /** Its Docker over TLS. */
  readonly host: string;
  /** Its Docker's socket on this machine. */
  readonly socket: string;
}

/** The description of the nodes that `scripts/lib/cluster/test-nodes.mjs` has started. */
interface Described {
  readonly nodes: readonly DescribedNode[];
  /** The machine's own address in the nodes' network. */
  readonly gateway: string;
  readonly control: string;
}

interface NodeChanges {
  readonly labels?: Record<string, string>;
  readonly availability?: 'active' | 'drain' | 'pause';
}

/** Until a manager that was away knows the leader again. */
const LEADER_MS = 90_000;

/** One Docker node of the tests' Swarm. The tests reach its Docker by a socket, even while its network is cut. */
export class TestNode extends RealDocker {
  readonly name: string;
  readonly address: string;
  /** Its Docker over TLS. */
  readonly host: string;

  constructor(
    { id, name, address, host, socket }: DescribedNode,
    private readonly control: string,
  ) {
    super(new Docker({ socketPath: socket.replace('unix://', '') }), id);
    this.name = name;
    this.address = address;
    this.host = host;
  }

  /** Simulates a power cut: all programs of the node end. */
  kill(): Promise<void> {
    return this.ask('kill');
  }

  /** Simulates the boot of the machine. */
  start(): Promise<void> {
    return this.ask('start');
  }

  /** Restarts the node in good order, with its containers. */
  restart(): Promise<void> {
    return this.ask('restart');
  }

  /** Cuts the network: connections stay open, and get no answer. */
  cut(): Promise<void> {
    return this.ask('cut');
  }

  heal(): Promise<void> {
    return this.ask('heal');
  }

  /** Removes every object with an instance label. Its firewall rules disappear at the node's next boot. */
  override removeInstance(instance: string): Promise<void> {
    return this.removeLabelled(instance);
  }

  private ask(how: 'kill' | 'start' | 'restart' | 'cut' | 'heal'): Promise<void> {
    return askForAction(this.control, `/${this.name}/${how}`);
  }
}

/** The nodes that `node scripts/test.mjs nodes` starts. All are managers of one Swarm. */
export class TestNodes {
  readonly nodes: readonly [TestNode, TestNode, TestNode];
  readonly gateway: string;
  private readonly control: string;

  constructor() {
    const file = process.env['TEST_NODES'];
    if (file === undefined) throw new Error('TEST_NODES is not set; `node scripts/test.mjs nodes` sets it');
    const { nodes, gateway, control } = JSON.parse(readFileSync(file, 'utf8')) as Described;
    const made = nodes.map((node) => new TestNode(node, control));
    this.nodes = made as unknown as [TestNode, TestNode, TestNode];
    this.gateway = gateway;
    this.control = control;
  }

  /** The settings of a server that uses them. */
  get environment(): Record<string, string> {
    const names = ['CLUSTER', 'CLUSTER_MANAGERS', 'CLUSTER_CERT_PATH', 'NODE_FIREWALL_IMAGE'];
    const known = Object.fromEntries(names.map((name) => [name, process.env[name] ?? '']));
    return { ...known, SANDBOX_RUNTIME: process.env['SANDBOX_RUNTIME'] ?? 'runsc' };
  }

  named(name: string): TestNode {
    const found = this.nodes.find((node) => node.name === name);
    if (!found) throw new Error(`there is no node ${name}`);
    return found;
  }

  /** Repairs and starts all nodes, and waits until the Swarm sees them. */
  async allWell(): Promise<void> {
    for (const node of this.nodes) {
      await node.heal();
      const answers = await node.docker.ping().then(
        () => true,
        () => false,
      );
      if (!answers) await node.start();
    }
    await this.ready();
    for (const node of this.nodes) await this.change(node, { availability: 'active' });
  }

  /**
   * A Docker (26.1) that lost its Swarm's leader may not find it again. Then the nodes are restarted, as an operator
   * would do.
   */
  private async ready(): Promise<void> {
    try {
      await askForAction(this.control, '/all/ready');
    } catch (error) {
      process.stdout.write(`${String(error)}\nrestarting the nodes\n`);
      for (const node of this.nodes) await node.restart();
      await askForAction(this.control, '/all/ready');
    }
  }

  /**
   * Does `docker node update` on another manager. Retries while that manager, which may have been away, knows no
   * leader.
   */
  async change(node: TestNode, changes: NodeChanges): Promise<void> {
    await eventually(() => this.changeOnce(node, changes), { timeoutMs: LEADER_MS });
  }

  private async changeOnce({ name }: TestNode, { labels = {}, availability }: NodeChanges): Promise<void> {
    const manager = this.nodes.find((node) => node.name !== name)?.docker;
    const listed = (await manager?.listNodes()) as readonly SwarmNode[] | undefined;
    const found = listed?.find((node) => node.Description.Hostname === name);
    if (!manager || !found) throw new Error(`the Swarm has no node ${name}`);
    await manager.getNode(found.ID).update({
      version: found.Version.Index,
      ...found.Spec,
      Labels: { ...found.Spec.Labels, ...labels },
      ...(availability && { Availability: availability }),
    });
  }
}

/** Berth's client certificate for the nodes. */
export function clientCertificate(): ClientCertificate {
  const read = (name: string): Buffer => readFileSync(join(process.env['CLUSTER_CERT_PATH'] ?? '', name));
  return { ca: read('ca.pem'), cert: read('cert.pem'), key: read('key.pem') };
}

interface SwarmNode {
  readonly ID: string;
  readonly Version: { readonly Index: number };
  readonly Description: { readonly Hostname: string };
  readonly Spec: { readonly Labels: Record<string, string> };
}

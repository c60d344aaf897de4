import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Docker from 'dockerode';
import type { ClientCertificate } from '../../../src/docker/connection/client';
import { askForAction } from '../faults/control-socket';
import { eventually } from '../eventually';
import { RealDocker } from './real-docker';

interface DescribedNode {
  /** In the Swarm. */
  readonly id: string;
  readonly name: string;
  readonly address: string;
  /** Its Docker over TLS. */
  readonly host: string;
  /** Its Docker on this machine. */
  readonly socket: string;
}

/** What `scripts/lib/cluster/test-nodes.mjs` says of the nodes that it started. */
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

/** Until a manager that was away hears of the others again. */
const LEADER_MS = 90_000;

/** One Docker node of the tests' Swarm, and a way to its Docker that no cut of the network reaches. */
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

  /** As a machine without power, with all that runs there. */
  kill(): Promise<void> {
    return this.ask('kill');
  }

  /** As a machine that boots. */
  start(): Promise<void> {
    return this.ask('start');
  }

  /** In good order, its containers with it. */
  restart(): Promise<void> {
    return this.ask('restart');
  }

  /** Pulls its cable: no connection ends, and none gets an answer. */
  cut(): Promise<void> {
    return this.ask('cut');
  }

  heal(): Promise<void> {
    return this.ask('heal');
  }

  /** Removes everything that carries an instance label; the rules of its firewall go with its next boot. */
  override removeInstance(instance: string): Promise<void> {
    return this.removeLabelled(instance);
  }

  private ask(how: 'kill' | 'start' | 'restart' | 'cut' | 'heal'): Promise<void> {
    return askForAction(this.control, `/${this.name}/${how}`);
  }
}

/** The nodes that `node scripts/test.mjs nodes` brings: all of them managers of one Swarm. */
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

  /** What a server needs to know to use them. */
  get environment(): Record<string, string> {
    const names = ['CLUSTER', 'CLUSTER_MANAGERS', 'CLUSTER_CERT_PATH', 'NODE_FIREWALL_IMAGE'];
    return Object.fromEntries(names.map((name) => [name, process.env[name] ?? '']));
  }

  named(name: string): TestNode {
    const found = this.nodes.find((node) => node.name === name);
    if (!found) throw new Error(`there is no node ${name}`);
    return found;
  }

  /** Until the Swarm sees all of them, wherever a test left them. */
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

  /** A Docker (26.1) that lost its Swarm's leader need not find it again: it is restarted then, as by an operator. */
  private async ready(): Promise<void> {
    try {
      await askForAction(this.control, '/all/ready');
    } catch (error) {
      process.stdout.write(`${String(error)}\nrestarting the nodes\n`);
      for (const node of this.nodes) await node.restart();
      await askForAction(this.control, '/all/ready');
    }
  }

  /** As `docker node update` on a manager does; again while that one, which may have been away, knows no leader. */
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

/** What Berth shows to the nodes. */
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

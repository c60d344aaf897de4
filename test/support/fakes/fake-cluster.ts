import { EngineError, type EngineNode, saysUnavailable } from '../../../src/engine';
import { ClusterEngine } from '../../../src/docker/cluster/cluster-engine';
import type { ClusterMember, ClusterMembers } from '../../../src/docker/cluster/cluster-members';
import { FakeDaemon } from './fake-daemon';
import { FakeEngine } from './fake-engine';

/** One machine in memory, which can fall silent. */
export class FakeNode implements ClusterMember {
  readonly daemon = new FakeDaemon();
  engine = new FakeEngine(this.daemon);
  readonly isPrepared = true;
  facts: EngineNode;
  private lost: AbortController | null = new AbortController();

  constructor(
    readonly id: string,
    private readonly onReachable: (node: FakeNode) => void,
  ) {
    this.facts = {
      id,
      name: id,
      address: 'tcp://192.0.2.1:2376',
      pool: 'default',
      labels: {},
      state: 'ready',
      availability: 'active',
      isManager: false,
      version: 1,
      memoryMb: 1024,
      cpuShares: 4000,
      isReachable: true,
      problem: null,
    };
    this.daemon.id = id;
  }

  get name(): string {
    return this.facts.name;
  }

  get isReachable(): boolean {
    return this.lost !== null;
  }

  get signal(): AbortSignal {
    return this.lost?.signal ?? AbortSignal.abort();
  }

  view(): EngineNode {
    return { ...this.facts, isReachable: this.isReachable };
  }

  /** Makes the machine silent. Its containers keep running. */
  cut(): void {
    this.daemon.down = true;
    this.lost?.abort();
    this.lost = null;
  }

  heal(): void {
    this.daemon.down = false;
    this.lost = new AbortController();
    this.onReachable(this);
  }

  async call<T>(work: (engine: FakeEngine) => Promise<T>): Promise<T> {
    if (this.lost === null) throw new EngineError('node_unavailable', 'it is cut off');
    try {
      return await work(this.engine);
    } catch (error) {
      if (saysUnavailable(error)) throw new EngineError('node_unavailable', 'it fell silent', { cause: error });
      throw error;
    }
  }
}

/** Several machines in memory. A second server on the same machines uses another engine. */
export class FakeCluster implements ClusterMembers {
  readonly store = 'swarm-fake';
  readonly nodes: readonly FakeNode[];
  private readonly listeners = new Set<(node: FakeNode) => void>();

  constructor(names: readonly string[]) {
    this.nodes = names.map((name) => new FakeNode(name, (node) => this.listeners.forEach((listen) => listen(node))));
    this.connect();
  }

  /** Simulates the death of the process; the next one finds the machines unchanged. */
  reconnect(): void {
    this.listeners.clear();
    for (const node of this.nodes) node.engine = new FakeEngine(node.daemon);
    this.connect();
  }

  engine(): ClusterEngine {
    return new ClusterEngine(this);
  }

  named(name: string): FakeNode {
    const node = this.find(name);
    if (!node) throw new Error(`there is no node ${name}`);
    return node;
  }

  prepare(): Promise<void> {
    return Promise.resolve();
  }

  all(): readonly FakeNode[] {
    return this.nodes;
  }

  find(id: string): FakeNode | undefined {
    return this.nodes.find((node) => node.id === id);
  }

  onReachable(listener: (node: FakeNode) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  remember(): void {
    // The machines are always known.
  }

  setAvailability(id: string, availability: 'active' | 'drain'): Promise<void> {
    const node = this.named(id);
    node.facts = { ...node.facts, availability, version: node.facts.version + 1 };
    return Promise.resolve();
  }

  private connect(): void {
    const engines = this.nodes.map(({ engine }) => engine);
    for (const engine of engines) engine.others = engines.filter((each) => each !== engine);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

import type { EngineNode } from '../../engine';
import type { TransferringEngine } from '../volumes/volume-transfer';

/** One node of a cluster. */
export interface ClusterMember {
  readonly id: string;
  readonly name: string;
  readonly isReachable: boolean;
  /** Whether sandboxes can be on this node, even if it does not answer now. */
  readonly isPrepared: boolean;
  /** The engine of this node. It knows no other node, and uses its own, unqualified ids. */
  readonly engine: TransferringEngine;
  /** Aborted when the node falls silent. */
  readonly signal: AbortSignal;
  view(): EngineNode;
  /** @throws EngineError `node_unavailable`, at once if the node is known to be silent; the errors of the call */
  call<T>(work: (engine: TransferringEngine) => Promise<T>): Promise<T>;
}

/** The nodes of a cluster, and whether they answer. */
export interface ClusterMembers {
  /** Identifies all nodes together; null until a manager has answered. */
  readonly store: string | null;
  /** @throws ConfigError if no node can be used */
  prepare(instance: string, process: string): Promise<void>;
  all(): readonly ClusterMember[];
  find(id: string): ClusterMember | undefined;
  /**
   * Calls the listener with each node that answers, for the first time or again.
   *
   * @returns a function that unsubscribes
   */
  onReachable(listener: (member: ClusterMember) => void): () => void;
  /** See {@link EngineNodes.remember}. */
  remember(store: string, nodes: readonly EngineNode[]): void;
  /** See {@link EngineNodes.setAvailability}. */
  setAvailability(id: string, availability: 'active' | 'drain'): Promise<void>;
  close(): Promise<void>;
}

import type { EngineNode } from '../container-engine';
import type { TransferringEngine } from '../volumes/volume-transfer';

/** One machine of a cluster. */
export interface ClusterMember {
  readonly id: string;
  readonly name: string;
  readonly isReachable: boolean;
  /** Whether sandboxes can be on it, whether it answers now or not. */
  readonly isPrepared: boolean;
  /** Its engine, which knows no other machine: ids are its own. */
  readonly engine: TransferringEngine;
  /** Aborted when it falls silent. */
  readonly signal: AbortSignal;
  view(): EngineNode;
  /** @throws EngineError `node_unavailable`, at once where it is known; and whatever the call throws */
  call<T>(work: (engine: TransferringEngine) => Promise<T>): Promise<T>;
}

/** Which machines there are, and whether they answer. */
export interface ClusterMembers {
  /** What identifies all machines together; null while nobody has said. */
  readonly store: string | null;
  /** @throws ConfigError if none can be used */
  prepare(instance: string): Promise<void>;
  all(): readonly ClusterMember[];
  find(id: string): ClusterMember | undefined;
  /** Calls the listener with each that answers, for the first time or again. @returns ends that */
  onReachable(listener: (member: ClusterMember) => void): () => void;
  /** See {@link ContainerEngine.remember}. */
  remember(store: string, nodes: readonly EngineNode[]): void;
  /** See {@link ContainerEngine.setAvailability}. */
  setAvailability(id: string, availability: 'active' | 'drain'): Promise<void>;
  close(): Promise<void>;
}

import type { ProofReport } from './sandbox-proof';

/** Whether the engine behind the port is the known one. */
type EngineIdentityState =
  /** Not checked yet. */
  | 'unknown'
  /** The engine that containers and volumes were created on. */
  | 'same'
  /** Another engine, or one that has lost all containers and volumes. */
  | 'changed';

/**
 * The results of checks on the engine behind the port: whether it is still the known one, whether a test sandbox
 * works, and which nodes fail. The checks write them, and health and metrics read them.
 */
export class EngineIdentity {
  private noted: EngineIdentityState = 'unknown';
  private notedNodes: readonly string[] = [];
  private notedProof: 'proving' | ProofReport | null = null;

  get state(): EngineIdentityState {
    return this.noted;
  }

  /** Null if no sandbox was tested yet. */
  get proof(): 'proving' | ProofReport | null {
    return this.notedProof;
  }

  /** The share of one core that an idle sandbox uses; null: not measured. */
  get idleCores(): number | null {
    return typeof this.notedProof === 'object' ? (this.notedProof?.idleCores ?? null) : null;
  }

  /** {@link idleCores} in whole millicores. */
  get idleCpuShares(): number | null {
    return this.idleCores === null ? null : Math.round(this.idleCores * 1000);
  }

  noteProof(proof: 'proving' | ProofReport): void {
    this.notedProof = proof;
  }

  /** Problems of nodes that an operator must solve, as sentences. */
  get nodes(): readonly string[] {
    return this.notedNodes;
  }

  noteNodes(notices: readonly string[]): void {
    this.notedNodes = notices;
  }

  note(state: EngineIdentityState): void {
    this.noted = state;
  }
}

import type { ProofReport } from './containers/sandbox-proof';

/** What is known of the engine behind the port. */
export type EngineIdentityState =
  /** Not checked yet. */
  | 'unknown'
  /** It is the engine that containers and volumes were created on. */
  | 'same'
  /** It is another engine, or has lost all containers and volumes. */
  | 'changed';

/**
 * What was found out of the engine behind the port: whether it is still the known one, whether a sandbox that was tried
 * does what it must, and which of its nodes fail. Written by those who check, read by those who report.
 */
export class EngineIdentity {
  private noted: EngineIdentityState = 'unknown';
  private notedNodes: readonly string[] = [];
  private notedProof: 'proving' | ProofReport | null = null;

  get state(): EngineIdentityState {
    return this.noted;
  }

  /** Null: not tried. */
  get proof(): 'proving' | ProofReport | null {
    return this.notedProof;
  }

  noteProof(proof: 'proving' | ProofReport): void {
    this.notedProof = proof;
  }

  /** What an operator has to see to on nodes, in words. */
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

/** What is known of the engine behind the port. */
export type EngineIdentityState =
  /** Nobody has looked yet. */
  | 'unknown'
  /** It has what was made before. */
  | 'same'
  /** It is another one than containers and volumes were made on, or has lost them all. */
  | 'changed';

/** Whether the engine is still the one that it was: noted by whoever compares its id, told to whoever reports it. */
export class EngineIdentity {
  private noted: EngineIdentityState = 'unknown';

  get state(): EngineIdentityState {
    return this.noted;
  }

  note(state: EngineIdentityState): void {
    this.noted = state;
  }
}

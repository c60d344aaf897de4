/** What is known of the engine behind the port. */
export type EngineIdentityState =
  /** Not checked yet. */
  | 'unknown'
  /** It is the engine that containers and volumes were created on. */
  | 'same'
  /** It is another engine, or has lost all containers and volumes. */
  | 'changed';

/** Whether the engine is still the known one: written by the check of its id, read by those who report it. */
export class EngineIdentity {
  private noted: EngineIdentityState = 'unknown';

  get state(): EngineIdentityState {
    return this.noted;
  }

  note(state: EngineIdentityState): void {
    this.noted = state;
  }
}

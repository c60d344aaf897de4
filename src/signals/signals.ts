/** What the processes of one Berth tell each other. Hints only: whoever misses one finds the same in the database. */
export interface SignalMap {
  /** Events of this user were committed, up to `seq`. */
  user_events: { readonly userId: string; readonly seq: number };
  /** A token was revoked. */
  token_revoked: { readonly tokenId: string };
  /** No operation holds this container any more. */
  container_released: { readonly containerId: string };
  /** Connections of this agent that are older than `epoch` are over. */
  agent_epoch: { readonly agentId: string; readonly epoch: number };
  /** The holder of this container's operation should give up. */
  operation_cancelled: { readonly containerId: string };
}

export type SignalName = keyof SignalMap;

/** Publishes and receives signals, in this process always, and in the others where Redis is configured. */
export abstract class Signals {
  /** Delivered to this process's listeners before it returns; to others soon, or never. Does not throw. */
  abstract publish<S extends SignalName>(name: S, payload: SignalMap[S]): void;
  /** @returns the way to stop listening */
  abstract on<S extends SignalName>(name: S, listener: (payload: SignalMap[S]) => void): () => void;
}

import { Injectable, Logger } from '@nestjs/common';
import { EventEmitter } from 'node:events';

/** Signals between the processes of one Berth. Hints only: whoever misses one finds the same in the database. */
export interface SignalMap {
  /** Events of this user were committed, up to `seq`. */
  user_events: { readonly userId: string; readonly seq: number };
  /** A token was revoked. */
  token_revoked: { readonly tokenId: string };
  /** A user was suspended or deleted: none of their tokens opens anything. */
  user_suspended: { readonly userId: string };
  /** A user is on another tier now. */
  user_moved: { readonly userId: string };
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

/** Signals within one process: all there is to do when one process serves alone. */
@Injectable()
export class LocalSignals extends Signals {
  private readonly logger = new Logger(LocalSignals.name);
  /** Its own type map cannot be used by generic code; {@link Signals} has the types. */
  private readonly emitter = new EventEmitter();

  constructor() {
    super();
    // Every socket, stream and wait listens: many listeners are no leak.
    this.emitter.setMaxListeners(0);
  }

  override publish<S extends SignalName>(name: S, payload: SignalMap[S]): void {
    this.emitter.emit(name, payload);
  }

  override on<S extends SignalName>(name: S, listener: (payload: SignalMap[S]) => void): () => void {
    // The publisher has done its work: a listener's fault reaches neither it nor the other listeners.
    const guarded = (payload: SignalMap[S]): void => {
      try {
        listener(payload);
      } catch (error) {
        this.logger.error({ msg: 'a signal listener failed', signal: name, err: error });
      }
    };
    this.emitter.on(name, guarded);
    return () => this.emitter.off(name, guarded);
  }
}

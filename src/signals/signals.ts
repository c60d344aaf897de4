import { Injectable, Logger } from '@nestjs/common';
import { EventEmitter } from 'node:events';

/**
 * Signals between the processes of one Berth. Hints only: a process that misses one finds the same in the database.
 */
export interface SignalMap {
  /** Events of this user were committed, up to `seq`. */
  user_events: { readonly userId: string; readonly seq: number };
  /** A token was revoked. */
  token_revoked: { readonly tokenId: string };
  /** A user was suspended or deleted: none of their tokens is accepted any more. */
  user_suspended: { readonly userId: string };
  /** A user was moved to another tier. */
  user_moved: { readonly userId: string };
  /** No operation holds this container any more. */
  container_released: { readonly containerId: string };
  /** Connections of this agent that are older than `epoch` are no longer valid. */
  agent_epoch: { readonly agentId: string; readonly epoch: number };
  /** Links to ports of this container were revoked, or who may see a port was changed. */
  previews_changed: { readonly containerId: string };
  /** The holder of this container's operation should give up. */
  operation_cancelled: { readonly containerId: string };
  /** A client of the process `holder` has become the writer of this terminal. */
  terminal_written: { readonly terminalId: string; readonly holder: string };
  /** A webhook was created, changed or deleted, or its deliveries are to be tried again now. */
  webhook_changed: { readonly webhookId: string };
}

export type SignalType = keyof SignalMap;

/** Publishes and receives signals: always within this process, and with other processes if Redis is configured. */
export abstract class Signals {
  /** Delivers to this process's listeners before it returns, to other processes soon or never. Does not throw. */
  abstract publish<S extends SignalType>(name: S, payload: SignalMap[S]): void;
  /** @returns a function that removes the listener */
  abstract on<S extends SignalType>(name: S, listener: (payload: SignalMap[S]) => void): () => void;
}

/** Signals within one process: enough if only one process serves. */
@Injectable()
export class LocalSignals extends Signals {
  private readonly logger = new Logger(LocalSignals.name);
  /** Untyped: EventEmitter's type map cannot be used by generic code. {@link Signals} has the types. */
  private readonly emitter = new EventEmitter();

  constructor() {
    super();
    // Every socket, stream and wait adds a listener: many listeners are no leak.
    this.emitter.setMaxListeners(0);
  }

  override publish<S extends SignalType>(name: S, payload: SignalMap[S]): void {
    this.emitter.emit(name, payload);
  }

  override on<S extends SignalType>(name: S, listener: (payload: SignalMap[S]) => void): () => void {
    // A listener's error must reach neither the publisher, whose work is done, nor the other listeners.
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

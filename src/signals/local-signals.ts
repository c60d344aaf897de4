import { Injectable, Logger } from '@nestjs/common';
import { EventEmitter } from 'node:events';
import { SignalMap, SignalName, Signals } from './signals';

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

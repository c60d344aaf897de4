import { Injectable, Logger } from '@nestjs/common';
import { SignalMap, SignalName, Signals } from './signals';

type Listener<S extends SignalName> = (payload: SignalMap[S]) => void;
type Listeners = { [S in SignalName]?: Set<Listener<S>> };

/** Signals within one process: all there is to do when one process serves alone. */
@Injectable()
export class LocalSignals extends Signals {
  private readonly logger = new Logger(LocalSignals.name);
  private readonly listeners: Listeners = {};

  override publish<S extends SignalName>(name: S, payload: SignalMap[S]): void {
    // A copy, so that a listener may stop listening, or another start, while it is told.
    for (const listener of [...this.listenersOf(name)]) {
      try {
        listener(payload);
      } catch (error) {
        // The publisher has done its work; a listener's fault is not its own.
        this.logger.error({ msg: 'a signal listener failed', signal: name, err: error });
      }
    }
  }

  override on<S extends SignalName>(name: S, listener: Listener<S>): () => void {
    // Wrapped, so that the same function can listen twice and stop once.
    const entry: Listener<S> = (payload) => {
      listener(payload);
    };
    this.listenersOf(name).add(entry);
    return () => this.listenersOf(name).delete(entry);
  }

  private listenersOf<S extends SignalName>(name: S): Set<Listener<S>> {
    return (this.listeners[name] ??= new Set<Listener<S>>() as NonNullable<Listeners[S]>);
  }
}

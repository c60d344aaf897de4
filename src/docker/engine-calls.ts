import type { EngineErrorCode } from './engine-error';

/** A call to the engine that is over. */
export interface EndedCall {
  /** Such as `create container`. */
  readonly call: string;
  readonly outcome: 'ok' | EngineErrorCode;
  readonly seconds: number;
}

/** Tells whoever measures of every call to the engine, so that the engine need not know them. */
export class EngineCalls {
  private readonly listeners: ((ended: EndedCall) => void)[] = [];

  /** Calls `listener` at the end of each call. It must not throw. */
  onEnded(listener: (ended: EndedCall) => void): void {
    this.listeners.push(listener);
  }

  ended(call: EndedCall): void {
    for (const listener of this.listeners) listener(call);
  }
}

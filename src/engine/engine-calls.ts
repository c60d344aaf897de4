import type { EngineErrorCode } from './port/engine-error';

/** A completed engine call. */
export interface EndedCall {
  /** Such as `create container`. */
  readonly call: string;
  readonly outcome: 'ok' | EngineErrorCode;
  readonly seconds: number;
  /** On a cluster, the name of the node that was called. */
  readonly node?: string;
}

/** Counts the channels of this process to the sandboxes' supervisors, on all nodes. */
interface ChannelCounts {
  open: number;
  /** Those that were opened in all. */
  opened: number;
}

/** Notifies listeners of every engine call, so that the engine does not depend on the metrics. */
export class EngineCalls {
  readonly channels: ChannelCounts = { open: 0, opened: 0 };
  private readonly listeners: ((ended: EndedCall) => void)[] = [];

  /** Calls `listener` at the end of each call. It must not throw. */
  onEnded(listener: (ended: EndedCall) => void): void {
    this.listeners.push(listener);
  }

  ended(call: EndedCall): void {
    for (const listener of this.listeners) listener(call);
  }
}

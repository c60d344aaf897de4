import { ExecutionContext, Injectable } from '@nestjs/common';

/** Told of a caller whose token lacks the scope that a route asks for, before they are. */
export type RefusalListener = (context: ExecutionContext) => Promise<void>;

/** Lets others know whom the guard turned away: it knows no more of them than that they listen. */
@Injectable()
export class ScopeRefusals {
  private readonly listeners: RefusalListener[] = [];

  onRefused(listener: RefusalListener): void {
    this.listeners.push(listener);
  }

  /** @throws what a listener throws */
  async emit(context: ExecutionContext): Promise<void> {
    for (const listener of this.listeners) await listener(context);
  }
}

import { Injectable } from '@nestjs/common';
import { ProcessPresence } from '../../database';
import { Signals } from '../../signals';

/**
 * Keeps one writer at a terminal across server processes: the last client that has become the writer. By signals, so
 * without Redis each server process may have a writer of its own.
 */
@Injectable()
export class TerminalWriters {
  constructor(
    private readonly presence: ProcessPresence,
    private readonly signals: Signals,
  ) {}

  /** A client here has become the writer. */
  claim(terminalId: string): void {
    this.signals.publish('terminal_written', { terminalId, holder: this.presence.holder });
  }

  /** Calls back when a client at another process has become the writer. @returns a function that stops that */
  onClaimed(listener: (terminalId: string) => void): () => void {
    return this.signals.on('terminal_written', ({ terminalId, holder }) => {
      if (holder !== this.presence.holder) listener(terminalId);
    });
  }
}

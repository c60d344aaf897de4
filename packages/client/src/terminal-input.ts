import type { Socket } from 'socket.io-client';
import { BerthError } from './errors.ts';

/** Maximum bytes that the server accepts at once. */
const PIECE_BYTES = 16_384;
/** Pause before input is sent again that the terminal had no room for. */
const FULL_PAUSE_MS = 50;

/** The server's answer to a piece of input. */
interface Outcome {
  readonly ok?: true;
  readonly error?: string;
  readonly code?: string;
}

interface Item {
  readonly bytes: Uint8Array;
  sent: number;
  readonly resolve: () => void;
  readonly reject: (error: BerthError) => void;
}

/**
 * Sends typed input to the server in order, each piece after the previous one was answered.
 *
 * With `patienceMs`, a server that gives no answer for that time while input waits counts as away: waiting input is
 * dropped, and so is further input until the server answers again. Blindly typed input must not be executed minutes
 * later.
 */
export class TerminalInput {
  private readonly waiting: Item[] = [];
  /** True while a piece is sent, or waits for room. */
  private isSending = false;
  private isAttached = false;
  private isAway = false;
  private hasEnded = false;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly io: Socket,
    private readonly patienceMs: number | undefined,
  ) {
    io.on('disconnect', () => (this.isAttached = false));
  }

  /** Call it whenever the server has attached this client. */
  attached(): void {
    this.isAttached = true;
    this.answered();
    this.send();
  }

  /**
   * Resolves when the server has accepted all bytes.
   *
   * @throws BerthError `connection_failed` if the input was dropped; `unexpected_answer` if it was refused or the
   *   terminal has ended
   */
  write(bytes: Uint8Array): Promise<void> {
    if (this.hasEnded) return Promise.reject(inputRefused('the terminal has ended'));
    if (this.isAway) return Promise.reject(inputDropped());
    if (bytes.length === 0) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.waiting.push({ bytes, sent: 0, resolve, reject });
      if (this.timer === undefined) this.wait();
      this.send();
    });
  }

  /** Ends the input; waiting input is refused. */
  close(): void {
    this.hasEnded = true;
    this.refuse(inputRefused('the terminal has ended'));
  }

  private send(): void {
    const [item] = this.waiting;
    if (!item || this.isSending || !this.isAttached) return;
    this.isSending = true;
    const piece = item.bytes.subarray(item.sent, item.sent + PIECE_BYTES);
    const settle = (outcome: Outcome | 'unanswered'): void => {
      this.io.off('disconnect', onBreak);
      if (outcome !== 'unanswered') this.answered();
      const isFull = this.waiting[0] === item && this.settle(item, { piece, outcome });
      const next = (): void => {
        this.isSending = false;
        this.send();
      };
      if (isFull) setTimeout(next, FULL_PAUSE_MS);
      else next();
    };
    // If the connection breaks before the answer, the piece is not sent again: it may have been typed.
    const onBreak = (): void => settle('unanswered');
    this.io.once('disconnect', onBreak);
    this.io.emit('input', piece, settle);
  }

  /** @returns true if the terminal has no room for the piece now */
  private settle(item: Item, { piece, outcome }: { piece: Uint8Array; outcome: Outcome | 'unanswered' }): boolean {
    if (outcome === 'unanswered' || outcome.ok) {
      item.sent += piece.length;
      if (item.sent < item.bytes.length) return false;
      item.resolve();
    } else if (outcome.code === 'input_full') {
      return true;
    } else {
      item.reject(inputRefused(outcome.error ?? 'the input was refused'));
    }
    this.waiting.shift();
    if (this.waiting.length === 0) this.rest();
    return false;
  }

  private answered(): void {
    this.isAway = false;
    this.rest();
    if (this.waiting.length > 0) this.wait();
  }

  private wait(): void {
    if (this.patienceMs === undefined) return;
    this.timer = setTimeout(() => {
      this.isAway = true;
      this.refuse(inputDropped());
    }, this.patienceMs);
  }

  private rest(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private refuse(error: BerthError): void {
    this.rest();
    for (const { reject } of this.waiting.splice(0)) reject(error);
  }
}

export function inputRefused(message: string): BerthError {
  return new BerthError({ status: 0, code: 'unexpected_answer', message });
}

function inputDropped(): BerthError {
  const message = 'the server does not answer, so the input was dropped';
  return new BerthError({ status: 0, code: 'connection_failed', message });
}

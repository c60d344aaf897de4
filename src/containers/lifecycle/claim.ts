import { setTimeout as delay } from 'node:timers/promises';
import type { Signals } from '../../signals';
import type { EventDraft } from '../../events';
import type { ContainerRow } from '../container.entity';
import { ClaimLostError, ContainerPatch, ContainerRepository } from '../container.repository';
import type { Operation } from '../container-state';

/** How soon a database that does not answer is asked again. */
const ASK_AGAIN_MS = 250;

/** The creation's holder was asked to give up. */
export class CancelledError extends Error {
  override readonly name = 'CancelledError';
}

interface ClaimOptions {
  readonly row: ContainerRow;
  readonly interrupted: Operation | null;
  readonly repository: ContainerRepository;
  readonly signals: Signals;
  readonly termMs: number;
  readonly onEnd: () => void;
  /** The claim ended, and something is left to do. */
  readonly onAbandoned: (containerId: string) => void;
}

/** The right to operate on one container, renewed until it ends in `settle` or `abandon`. */
export class Claim {
  private current: ContainerRow;
  private readonly lost = new AbortController();
  private readonly cancelled = new AbortController();
  private readonly renewal: NodeJS.Timeout;
  private readonly stopListening: () => void;
  private expiresAt: number;
  private leftBehind: Operation | null;
  private ended = false;

  constructor(private readonly options: ClaimOptions) {
    this.current = options.row;
    this.leftBehind = options.interrupted;
    // As the row says, and not from now: the write of it may have waited.
    this.expiresAt = options.row.operationExpiresAt?.getTime() ?? 0;
    this.renewal = setInterval(() => void this.renew(), options.termMs / 3).unref();
    this.stopListening = options.signals.on('operation_cancelled', ({ containerId }) => {
      if (containerId === this.current.id) this.cancel();
    });
  }

  /** The row as of the last write of this claim. */
  get row(): ContainerRow {
    return this.current;
  }

  /** The operation of a holder that died or gave up, whose traces must be dealt with first; null mostly. */
  get interrupted(): Operation | null {
    return this.leftBehind;
  }

  /** What the dead holder left is dealt with. */
  tidied(): void {
    this.leftBehind = null;
  }

  /** Aborted when the operation should go no further; its reason says why. */
  readonly signal = AbortSignal.any([this.lost.signal, this.cancelled.signal]);

  /** @throws ClaimLostError: to be asked before each step, forward or back */
  assertHeld(): void {
    if (this.expiresAt <= Date.now()) this.lost.abort(new ClaimLostError('the claim ran out'));
    this.lost.signal.throwIfAborted();
  }

  /** @throws ClaimLostError, CancelledError: to be asked before each step forward */
  assertWanted(): void {
    this.assertHeld();
    this.cancelled.signal.throwIfAborted();
  }

  /**
   * Asks the database whether the claim is still ours, and reads the row again. A write that failed may have been committed all
   * the same: a connection can break between the commit and its answer, and then the claim is over and the row another.
   *
   * @throws ClaimLostError; what the database throws if it did not answer until the term was over
   */
  async confirm(): Promise<void> {
    for (;;) {
      this.assertHeld();
      try {
        if (!(await this.prolong())) throw new ClaimLostError('the claim has ended');
        this.current = (await this.options.repository.findById(this.current.id)) ?? this.current;
        return;
      } catch (error) {
        if (error instanceof ClaimLostError || this.expiresAt - Date.now() < ASK_AGAIN_MS) throw error;
        await delay(ASK_AGAIN_MS);
      }
    }
  }

  /** Writes the outcome with its events and ends the claim. @throws ClaimLostError, DomainError `name_taken` */
  async settle(patch: ContainerPatch, events: readonly EventDraft[] = []): Promise<ContainerRow> {
    this.current = await this.options.repository.settle({ row: this.current, patch, events });
    this.end();
    return this.current;
  }

  /** Writes what was found out on the way. @throws ClaimLostError */
  async record(patch: ContainerPatch, events: readonly EventDraft[]): Promise<ContainerRow> {
    this.current = await this.options.repository.record({ row: this.current, patch, events });
    return this.current;
  }

  /**
   * Ends the claim unsettled: whoever claims next first does what `as` says.
   *
   * @param seen what the row follows all the same
   * @throws ClaimLostError; what the database throws: then the claim runs out by itself
   */
  async abandon(
    as: Operation,
    seen: { readonly patch: ContainerPatch; readonly events: readonly EventDraft[] } = { patch: {}, events: [] },
  ): Promise<void> {
    try {
      this.current = await this.options.repository.abandon({ row: this.current, ...seen }, { as, now: new Date() });
      this.options.onAbandoned(this.current.id);
    } finally {
      this.end();
    }
  }

  /** A lost claim ends without a write. */
  end(): void {
    if (this.ended) return;
    this.ended = true;
    clearInterval(this.renewal);
    this.stopListening();
    this.options.onEnd();
    this.options.signals.publish('container_released', { containerId: this.current.id });
  }

  private cancel(): void {
    if (this.current.operation === 'create') this.cancelled.abort(new CancelledError('the creation was cancelled'));
  }

  private async renew(): Promise<void> {
    try {
      if (this.current.operationId === null || this.ended) return;
      if (!(await this.prolong())) this.lost.abort(new ClaimLostError('another process took the container over'));
      else if (await this.options.repository.isCancelled(this.current.id)) this.cancel();
    } catch {
      // The database does not answer: try again at the next turn; assertHeld() notices when the term is over.
    }
  }

  /** @returns false if the claim is lost */
  private async prolong(): Promise<boolean> {
    const { id, operationId } = this.current;
    const expiresAt = Date.now() + this.options.termMs;
    if (operationId === null) return false;
    const renewed = await this.options.repository.renew({ id, operationId, expiresAt: new Date(expiresAt) });
    if (renewed) this.expiresAt = expiresAt;
    return renewed;
  }
}

import type { Signals } from '../../signals';
import type { EventDraft } from '../../events';
import type { ClaimTerm, ClaimTerms, Stamp } from '../claim-term';
import type { ContainerRow } from '../container.entity';
import { ClaimLostError, ContainerPatch, ContainerRepository } from '../container.repository';
import type { Operation } from '../container-state';

/** The creation's holder was asked to give up. */
export class CancelledError extends Error {
  override readonly name = 'CancelledError';
}

interface ClaimOptions {
  readonly row: ContainerRow;
  /** What the claim was written with. */
  readonly stamp: Stamp;
  readonly interrupted: Operation | null;
  readonly repository: ContainerRepository;
  readonly signals: Signals;
  readonly terms: ClaimTerms;
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
  private readonly term: ClaimTerm;
  private leftBehind: Operation | null;
  private ended = false;

  constructor(private readonly options: ClaimOptions) {
    this.current = options.row;
    this.leftBehind = options.interrupted;
    const { id, operationId } = options.row;
    this.term = options.terms.begin(options.stamp, async ({ expiresAt }) => {
      return operationId !== null && (await options.repository.renew({ id, operationId, expiresAt }));
    });
    this.renewal = setInterval(() => void this.renew(), options.terms.termMs / 3).unref();
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
  async assertHeld(): Promise<void> {
    this.lost.signal.throwIfAborted();
    if (!this.term.isSure && !(await this.term.confirm())) this.lose();
    this.lost.signal.throwIfAborted();
  }

  /** @throws ClaimLostError, CancelledError: to be asked before each step forward */
  async assertWanted(): Promise<void> {
    await this.assertHeld();
    this.cancelled.signal.throwIfAborted();
  }

  /**
   * Asks the database whether the claim is still ours, and reads the row again. A write that failed may have been committed all
   * the same: a connection can break between the commit and its answer, and then the claim is over and the row another.
   *
   * @throws ClaimLostError; what the database throws if it did not answer until the term was over
   */
  async confirm(): Promise<void> {
    this.lost.signal.throwIfAborted();
    if (!(await this.term.rewrite())) this.lose();
    this.lost.signal.throwIfAborted();
    this.current = (await this.options.repository.findById(this.current.id)) ?? this.current;
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
      this.current = await this.options.repository.abandon({ row: this.current, ...seen }, as);
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
      if (this.ended) return;
      if (!(await this.term.renew())) this.lose();
      else if (await this.options.repository.isCancelled(this.current.id)) this.cancel();
    } catch {
      // The database does not answer: try again at the next turn; assertHeld() does not pass before.
    }
  }

  private lose(): void {
    this.lost.abort(new ClaimLostError('the claim has ended, or another process took the container over'));
  }
}

import type { EventDraft } from '../../events';
import type { ContainerRow } from '../container.entity';
import type { LeaseTerm, LeaseTerms, Stamp } from '../leases/lease-term';
import { RoleLeaseLostError, type RoleRepository, type RoleTicket } from './role.repository';

const TAKEN = 'the container was recreated, stopped or deleted, or another process took over';

interface RoleLeaseOptions {
  readonly leaseId: string;
  /** What the lease was written with. */
  readonly stamp: Stamp;
  readonly repository: RoleRepository;
  readonly terms: LeaseTerms;
}

/** An exclusive lease to install the role of one container, renewed until it ends. */
export class RoleLease {
  private readonly lost = new AbortController();
  private readonly renewal: NodeJS.Timeout;
  private readonly ticket: RoleTicket;
  private readonly term: LeaseTerm;

  constructor(
    /** As of the acquisition. */
    readonly row: ContainerRow,
    private readonly options: RoleLeaseOptions,
  ) {
    const { leaseId, stamp, repository, terms } = options;
    this.ticket = { id: row.id, userId: row.userId, leaseId };
    this.term = terms.begin(stamp, (next) => repository.renewLease(this.ticket, next.expiresAt));
    this.renewal = setInterval(() => void this.renew(), terms.termMs / 3).unref();
  }

  /** Unique to each attempt. */
  get attempt(): string {
    return this.options.leaseId;
  }

  /** Aborted when the lease is lost. */
  get signal(): AbortSignal {
    return this.lost.signal;
  }

  /** To be called before anything that must not be done twice at once. @throws RoleLeaseLostError */
  async assertHeld(): Promise<void> {
    this.signal.throwIfAborted();
    if (!this.term.isSure && !(await this.term.confirm())) this.lose(TAKEN);
    this.signal.throwIfAborted();
  }

  /** @throws RoleLeaseLostError */
  async emit(eventOf: (row: ContainerRow) => EventDraft): Promise<void> {
    const stamp = this.options.terms.stamp();
    await this.options.repository.emit(this.ticket, stamp.expiresAt, eventOf);
    this.term.wasWritten(stamp);
  }

  /** @throws RoleLeaseLostError */
  async succeed(eventOf: (row: ContainerRow) => EventDraft): Promise<void> {
    await this.options.repository.succeed(this.ticket, eventOf);
  }

  /** @returns false if an operation holds the container, which may be why it failed. @throws RoleLeaseLostError */
  async fail(eventOf: (row: ContainerRow) => EventDraft): Promise<boolean> {
    return this.options.repository.fail(this.ticket, eventOf);
  }

  /** Releases the role for a later attempt. @returns the row as of then; null if the lease was already lost */
  async release(): Promise<ContainerRow | null> {
    return this.options.repository.release(this.ticket);
  }

  /** No further renewals. */
  end(): void {
    clearInterval(this.renewal);
  }

  private async renew(): Promise<void> {
    try {
      if (!(await this.term.renew())) this.lose(TAKEN);
    } catch {
      // The database does not answer: the next renewal tries again, until the term is over.
      if (this.term.isOver) this.lose('the lease of the role ran out');
    }
  }

  private lose(why: string): void {
    this.lost.abort(new RoleLeaseLostError(why));
  }
}

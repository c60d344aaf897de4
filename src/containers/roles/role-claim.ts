import type { EventDraft } from '../../events';
import type { ContainerRow } from '../container.entity';
import { RoleClaimLostError, type RoleRepository, type RoleTicket } from './role.repository';

/** The right to install the role of one container, renewed until it ends. */
export class RoleClaim {
  private readonly lost = new AbortController();
  private readonly renewal: NodeJS.Timeout;
  private readonly ticket: RoleTicket;
  private expiresAt: number;

  constructor(
    /** As of the claim. */
    readonly row: ContainerRow,
    private readonly claimId: string,
    private readonly options: { readonly repository: RoleRepository; readonly termMs: number },
  ) {
    this.ticket = { id: row.id, userId: row.userId, claimId };
    // As the row says, and not from now: the write of it may have waited.
    this.expiresAt = row.roleClaimExpiresAt?.getTime() ?? 0;
    this.renewal = setInterval(() => void this.renew(), options.termMs / 3).unref();
  }

  /** A name that no other attempt has. */
  get attempt(): string {
    return this.claimId;
  }

  /** Aborted when the claim is lost. */
  get signal(): AbortSignal {
    return this.lost.signal;
  }

  /** @throws RoleClaimLostError: to be asked before anything that must not be done twice at once */
  assertHeld(): void {
    if (this.expiresAt <= Date.now()) this.lose('the claim of the role ran out');
    this.signal.throwIfAborted();
  }

  /** @throws RoleClaimLostError */
  async tell(eventOf: (row: ContainerRow) => EventDraft): Promise<void> {
    const expiresAt = Date.now() + this.options.termMs;
    await this.options.repository.tell(this.ticket, new Date(expiresAt), eventOf);
    this.expiresAt = expiresAt;
  }

  /** @throws RoleClaimLostError */
  async succeed(eventOf: (row: ContainerRow) => EventDraft): Promise<void> {
    await this.options.repository.succeed(this.ticket, eventOf);
  }

  /** @returns false if an operation is at the container, which may be why it failed. @throws RoleClaimLostError */
  async fail(eventOf: (row: ContainerRow) => EventDraft): Promise<boolean> {
    return this.options.repository.fail(this.ticket, eventOf);
  }

  /** Leaves the role for later. @returns the row as it was then; null if the claim was lost already */
  async release(): Promise<ContainerRow | null> {
    return this.options.repository.release(this.ticket);
  }

  /** No renewal comes after this. */
  end(): void {
    clearInterval(this.renewal);
  }

  private async renew(): Promise<void> {
    const expiresAt = Date.now() + this.options.termMs;
    try {
      if (await this.options.repository.renew(this.ticket, new Date(expiresAt))) this.expiresAt = expiresAt;
      else this.lose('the container was made anew, stopped or deleted, or another process took over');
    } catch {
      // The database does not answer: try again at the next turn, until the term is over.
      if (this.expiresAt <= Date.now()) this.lose('the claim of the role ran out');
    }
  }

  private lose(why: string): void {
    this.lost.abort(new RoleClaimLostError(why));
  }
}

import type { EventDraft } from '../../events';
import type { ContainerRow } from '../container.entity';
import { Lease } from '../leases/lease';
import type { Grant, LeaseStore } from '../leases/lease-store';
import type { RoleRepository } from './role.repository';

/** An exclusive lease to install the role of one container; operations of the container may revoke it. */
export class RoleLease extends Lease {
  constructor(
    /** As of the acquisition. */
    readonly row: ContainerRow,
    grant: Grant,
    private readonly options: { readonly repository: RoleRepository; readonly store: LeaseStore },
  ) {
    super(grant, options.store);
  }

  /** Unique to each attempt. */
  get attempt(): string {
    return this.grant.leaseId;
  }

  /** Renews the lease too. @throws LeaseLostError */
  async emit(eventOf: (row: ContainerRow) => EventDraft): Promise<void> {
    const stamp = this.options.store.terms.stamp();
    await this.options.repository.emit(this, stamp.expiresAt, eventOf);
    this.wasWritten(stamp);
  }

  /** @throws LeaseLostError */
  async succeed(eventOf: (row: ContainerRow) => EventDraft): Promise<void> {
    await this.options.repository.succeed(this, eventOf);
  }

  /** @returns false if an operation holds the container, which may be why it failed. @throws LeaseLostError */
  async fail(eventOf: (row: ContainerRow) => EventDraft): Promise<boolean> {
    return this.options.repository.fail(this, eventOf);
  }

  /** Releases the role for a later attempt. @returns the row as of then; null if the lease was already lost */
  async release(): Promise<ContainerRow | null> {
    return this.options.repository.release(this);
  }

  /** A command may run for long without another step, so nothing but this ends it. */
  protected override onUnanswered(isOver: boolean): void {
    if (isOver) this.lose('the lease of the role ran out');
  }
}

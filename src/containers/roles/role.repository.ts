import { Injectable } from '@nestjs/common';
import { Database, sql } from '../../database';
import { EventDraft, EventLog } from '../../events';
import { Clock } from '../../scheduling';
import { ContainerEntity, type ContainerRow } from '../model/container.entity';
import { Lease, LeaseLostError } from '../leases/lease';
import { TERM_OVER } from '../leases/lease-term';
import { type Grant, LeaseStore } from '../leases/lease-store';

/** Identifies the lease of one role installation. */
type RoleTicket = Pick<RoleLease, 'row' | 'attempt'>;

/** An operation leases the container whose role failed. */
class ContainerBusyError extends Error {}

/** No process is installing the role: it is pending, or its installer has abandoned it. */
const OPEN = sql`(role_status = 'pending' OR (role_status = 'installing' AND role_claim_expires_at <= ${TERM_OVER}))`;

/**
 * The sole writer of the role columns, besides the container's operations. Every write is conditional on the role's
 * lease, and none changes the row's revision, which belongs to the operations.
 */
@Injectable()
export class RoleRepository {
  constructor(
    private readonly database: Database,
    private readonly eventLog: EventLog,
    private readonly store: LeaseStore,
    private readonly clock: Clock,
  ) {}

  /** Database ids of running containers whose role is pending and not being installed. */
  async listOpen(): Promise<string[]> {
    // 'running' is a literal: with a parameter, neither database would use the index of running containers.
    const { rows } = await this.database.run<{ id: string }>(sql`
      SELECT id FROM containers WHERE status = 'running' AND deleted_at IS NULL AND ${OPEN}`);
    return rows.map(({ id }) => id);
  }

  /** The id of the container's user; null if the container is deleted. */
  async ownerOf(id: string): Promise<string | null> {
    return (await this.find(id))?.userId ?? null;
  }

  /**
   * Leases the role of a running container that no operation leases.
   *
   * @returns null if there is nothing to install, or another process has the lease
   */
  async acquireLease(id: string): Promise<RoleLease | null> {
    const grant = this.store.newGrant('role', id);
    const isAcquired = await this.store.acquire(grant, {
      set: { roleStatus: 'installing' },
      where: sql`deleted_at IS NULL AND status = 'running' AND operation IS NULL AND ${OPEN}`,
    });
    if (!isAcquired) return null;
    const row = await this.find(id);
    return row?.roleClaimId === grant.leaseId
      ? new RoleLease(row, grant, { repository: this, store: this.store })
      : null;
  }

  /**
   * Emits the progress of the installation, and renews its lease.
   *
   * @throws LeaseLostError: then nothing is emitted
   */
  async emit(ticket: RoleTicket, expiresAt: Date, eventOf: (row: ContainerRow) => EventDraft): Promise<void> {
    await this.write(ticket, { roleClaimExpiresAt: expiresAt }, eventOf);
  }

  /** Writes that the role is installed, with its event. @throws LeaseLostError: then nothing is emitted */
  async succeed(ticket: RoleTicket, eventOf: (row: ContainerRow) => EventDraft): Promise<void> {
    await this.write(ticket, { ...FREE, roleStatus: 'installed', updatedAt: this.clock.now() }, eventOf);
  }

  /**
   * Writes that the role cannot be installed, with its event.
   *
   * @returns false if an operation leases the container, as that may be why the installation failed; then nothing is
   *   written
   * @throws LeaseLostError: then nothing is emitted
   */
  async fail(ticket: RoleTicket, eventOf: (row: ContainerRow) => EventDraft): Promise<boolean> {
    const ifAtRest = (row: ContainerRow): EventDraft => {
      if (row.operation !== null) throw new ContainerBusyError(row.operation);
      return eventOf(row);
    };
    try {
      await this.write(ticket, { ...FREE, roleStatus: 'failed', updatedAt: this.clock.now() }, ifAtRest);
      return true;
    } catch (error) {
      if (error instanceof ContainerBusyError) return false;
      throw error;
    }
  }

  /** Releases the role for a later attempt. @returns the row as of the release; null if the lease was already lost */
  async release(ticket: RoleTicket): Promise<ContainerRow | null> {
    const row = await this.find(ticket.row.id);
    return (await this.update(ticket, { ...FREE, roleStatus: 'pending' })) ? row : null;
  }

  private async write(
    ticket: RoleTicket,
    patch: Partial<ContainerRow>,
    eventOf: (row: ContainerRow) => EventDraft,
  ): Promise<void> {
    const {
      row: { id, userId },
      attempt: leaseId,
    } = ticket;
    await this.database.runInTxLocking(userId, async () => {
      // Locks the user before the container, like all transactions: in the other order two writers could deadlock.
      await this.eventLog.lock(userId);
      const row = await this.find(id);
      if (row?.roleClaimId !== leaseId) throw new LeaseLostError(`the role of container ${id} is no longer leased`);
      await this.eventLog.append({ userId, drafts: [eventOf(row)] });
      if (!(await this.update(ticket, patch)))
        throw new LeaseLostError(`the role of container ${id} is no longer leased`);
    });
  }

  private async find(id: string): Promise<ContainerRow | null> {
    return this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .where('c.id = :id AND c.deletedAt IS NULL', { id })
      .getOne();
  }

  /** @returns false if the lease is lost */
  private async update({ row: { id }, attempt }: RoleTicket, set: Partial<ContainerRow>): Promise<boolean> {
    const { affected } = await this.database.run(sql`
      UPDATE containers SET ${sql.set(ContainerEntity, set)}
      WHERE id = ${id} AND deleted_at IS NULL AND role_claim_id = ${attempt}`);
    return affected === 1;
  }
}

const FREE = { roleClaimId: null, roleClaimHolder: null, roleClaimExpiresAt: null } as const;

/** An exclusive lease to install the role of one container; operations of the container may revoke it. */
export class RoleLease extends Lease {
  constructor(
    /** The row as of the acquisition. */
    readonly row: ContainerRow,
    grant: Grant,
    private readonly options: { readonly repository: RoleRepository; readonly store: LeaseStore },
  ) {
    super(grant, options.store);
  }

  /** The id of the attempt, which is the lease's id. */
  get attempt(): string {
    return this.grant.leaseId;
  }

  /** Emits progress and renews the lease. @throws LeaseLostError */
  async emit(eventOf: (row: ContainerRow) => EventDraft): Promise<void> {
    const stamp = this.options.store.terms.stamp();
    await this.options.repository.emit(this, stamp.expiresAt, eventOf);
    this.wasWritten(stamp);
  }

  /** @throws LeaseLostError */
  async succeed(eventOf: (row: ContainerRow) => EventDraft): Promise<void> {
    await this.options.repository.succeed(this, eventOf);
  }

  /**
   * @returns false if an operation leases the container, which may be why the installation failed
   * @throws LeaseLostError
   */
  async fail(eventOf: (row: ContainerRow) => EventDraft): Promise<boolean> {
    return this.options.repository.fail(this, eventOf);
  }

  /** Releases the role for a later attempt. @returns the row as of the release; null if the lease was already lost */
  async release(): Promise<ContainerRow | null> {
    return this.options.repository.release(this);
  }

  /** A command may run for long without another step of the installation, so only this ends the lease. */
  protected override onUnanswered(isOver: boolean): void {
    if (isOver) this.lose('the lease of the role ran out');
  }
}

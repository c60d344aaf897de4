import { Injectable } from '@nestjs/common';
import type { UpdateQueryBuilder } from 'typeorm';
import { Database } from '../../database';
import { EventDraft, EventLog } from '../../events';
import { ContainerEntity, type ContainerRow } from '../container.entity';
import { type Stamp, TERM_OVER } from '../leases/lease-term';

/** Identifies the lease to install the role of one container. */
export interface RoleTicket {
  readonly id: string;
  readonly userId: string;
  readonly leaseId: string;
}

/** The container was recreated, stopped or deleted, or another process took over: this installation is over. */
export class RoleLeaseLostError extends Error {
  override readonly name = 'RoleLeaseLostError';
}

/** An operation holds the container whose role failed. */
class ContainerBusyError extends Error {}

/** No process is installing it: it is pending, or its installer has abandoned it. */
const OPEN = "(role_status = 'pending' OR (role_status = 'installing' AND role_claim_expires_at <= :over))";

/**
 * The sole writer of the role columns, beside the container's operations: every write is conditional on the role's
 * lease, and none changes the row's revision, which belongs to the operations.
 */
@Injectable()
export class RoleRepository {
  constructor(
    private readonly database: Database,
    private readonly eventLog: EventLog,
  ) {}

  /** Database ids of running containers whose role is pending and not being installed. */
  async listOpen(): Promise<string[]> {
    const rows = await this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .select('c.id', 'id')
      // A literal: with a parameter, neither database would use the index of running containers.
      .where(`c.status = 'running' AND c.deletedAt IS NULL AND ${OPEN}`, { over: this.database.timestamp(TERM_OVER) })
      .getRawMany<{ id: string }>();
    return rows.map(({ id }) => id);
  }

  /**
   * Leases the role of a running container that no operation holds.
   *
   * @returns its row; null if there is nothing to do
   */
  async acquireLease(id: string, leaseId: string, { holder, expiresAt }: Stamp): Promise<ContainerRow | null> {
    const result = await this.update(id)
      .set({ roleStatus: 'installing', roleClaimId: leaseId, roleClaimHolder: holder, roleClaimExpiresAt: expiresAt })
      .andWhere("status = 'running' AND operation IS NULL")
      .andWhere(OPEN, { over: this.database.timestamp(TERM_OVER) })
      .execute();
    if (result.affected !== 1) return null;
    const row = await this.find(id);
    return row?.roleClaimId === leaseId ? row : null;
  }

  /** @returns false if the lease is lost */
  async renewLease({ id, leaseId }: RoleTicket, expiresAt: Date): Promise<boolean> {
    const result = await this.update(id)
      .set({ roleClaimExpiresAt: expiresAt })
      .andWhere('role_claim_id = :leaseId', { leaseId })
      .execute();
    return result.affected === 1;
  }

  /**
   * Emits the progress of the installation, and renews its lease.
   *
   * @throws RoleLeaseLostError: then nothing is emitted
   */
  async emit(ticket: RoleTicket, expiresAt: Date, eventOf: (row: ContainerRow) => EventDraft): Promise<void> {
    await this.write(ticket, { roleClaimExpiresAt: expiresAt }, eventOf);
  }

  /** Writes that the role is installed, with its event. @throws RoleLeaseLostError: then nothing is emitted */
  async succeed(ticket: RoleTicket, eventOf: (row: ContainerRow) => EventDraft): Promise<void> {
    await this.write(ticket, { ...FREE, roleStatus: 'installed', updatedAt: new Date() }, eventOf);
  }

  /**
   * Writes that the role cannot be installed, with its event.
   *
   * @returns false if an operation holds the container: then nothing is written, as that may be why it failed
   * @throws RoleLeaseLostError: then nothing is emitted
   */
  async fail(ticket: RoleTicket, eventOf: (row: ContainerRow) => EventDraft): Promise<boolean> {
    const ifAtRest = (row: ContainerRow): EventDraft => {
      if (row.operation !== null) throw new ContainerBusyError(row.operation);
      return eventOf(row);
    };
    try {
      await this.write(ticket, { ...FREE, roleStatus: 'failed', updatedAt: new Date() }, ifAtRest);
      return true;
    } catch (error) {
      if (error instanceof ContainerBusyError) return false;
      throw error;
    }
  }

  /** Releases the role for a later attempt. @returns the row as of then; null if the lease was already lost */
  async release({ id, leaseId }: RoleTicket): Promise<ContainerRow | null> {
    const row = await this.find(id);
    const result = await this.update(id)
      .set({ ...FREE, roleStatus: 'pending' })
      .andWhere('role_claim_id = :leaseId', { leaseId })
      .execute();
    return result.affected === 1 ? row : null;
  }

  /** Ends the term of every lease: the process that held them is dead. */
  async expireAllLeases(): Promise<void> {
    await this.database.manager
      .createQueryBuilder()
      .update(ContainerEntity)
      .set({ roleClaimExpiresAt: TERM_OVER })
      .where('role_claim_id IS NOT NULL')
      .execute();
  }

  private async write(
    ticket: RoleTicket,
    patch: Partial<ContainerRow>,
    eventOf: (row: ContainerRow) => EventDraft,
  ): Promise<void> {
    const { id, userId, leaseId } = ticket;
    await this.database.runInTxLocking(userId, async () => {
      // Locks the user before the container, as everywhere: in the other order two writers could deadlock.
      await this.eventLog.lock(userId);
      const row = await this.find(id);
      if (row?.roleClaimId !== leaseId) throw new RoleLeaseLostError(`the role of container ${id} is no longer leased`);
      await this.eventLog.append({ userId, drafts: [eventOf(row)] });
      const update = this.update(id).set(patch).andWhere('role_claim_id = :leaseId', { leaseId });
      const result = await update.execute();
      if (result.affected !== 1) throw new RoleLeaseLostError(`the role of container ${id} is no longer leased`);
    });
  }

  private async find(id: string): Promise<ContainerRow | null> {
    return this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .where('c.id = :id AND c.deletedAt IS NULL', { id })
      .getOne();
  }

  private update(id: string): UpdateQueryBuilder<ContainerEntity> {
    return this.database.manager
      .createQueryBuilder()
      .update(ContainerEntity)
      .where('id = :id AND deleted_at IS NULL', { id });
  }
}

const FREE = { roleClaimId: null, roleClaimHolder: null, roleClaimExpiresAt: null } as const;

import { Injectable } from '@nestjs/common';
import type { UpdateQueryBuilder } from 'typeorm';
import { Database } from '../../database';
import { EventDraft, EventLog } from '../../events';
import { ContainerEntity, type ContainerRow } from '../container.entity';
import { type Stamp, TERM_OVER } from '../leases/lease-term';

/** The right to install the role of one container. */
export interface RoleTicket {
  readonly id: string;
  readonly userId: string;
  readonly leaseId: string;
}

/** The container was made anew, stopped or deleted, or another process took over: this installation is over. */
export class RoleLeaseLostError extends Error {
  override readonly name = 'RoleLeaseLostError';
}

/** An operation holds the container whose role failed. */
class ContainerBusyError extends Error {}

/** Nobody is at it: it is to be done, or whoever began has left it. */
const OPEN = "(role_status = 'pending' OR (role_status = 'installing' AND role_claim_expires_at <= :over))";

/**
 * The writer of what a container's row says of its role, beside the container's operations: every write is conditional on the
 * claim of the role, and none touches the row's revision, which is the operations' own.
 */
@Injectable()
export class RoleRepository {
  constructor(
    private readonly database: Database,
    private readonly eventLog: EventLog,
  ) {}

  /** Database ids of running containers whose role is to be installed and that nobody installs. */
  async listOpen(): Promise<string[]> {
    const rows = await this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .select('c.id', 'id')
      // Written out: for a parameter, neither database would take the index of what runs.
      .where(`c.status = 'running' AND c.deletedAt IS NULL AND ${OPEN}`, { over: this.database.timestamp(TERM_OVER) })
      .getRawMany<{ id: string }>();
    return rows.map(({ id }) => id);
  }

  /** Takes the role of a container that runs, and that no operation holds. @returns its row; null if there is nothing to do */
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

  /** Tells of the installation that goes on, and renews its lease. @throws RoleLeaseLostError: then nothing is told */
  async emit(ticket: RoleTicket, expiresAt: Date, eventOf: (row: ContainerRow) => EventDraft): Promise<void> {
    await this.write(ticket, { roleClaimExpiresAt: expiresAt }, eventOf);
  }

  /** Writes that the role is installed, with its event. @throws RoleLeaseLostError: then nothing is told */
  async succeed(ticket: RoleTicket, eventOf: (row: ContainerRow) => EventDraft): Promise<void> {
    await this.write(ticket, { ...FREE, roleStatus: 'installed', updatedAt: new Date() }, eventOf);
  }

  /**
   * Writes that the role cannot be installed, with its event.
   *
   * @returns false if an operation holds the container: then nothing is written, as that may be why it failed
   * @throws RoleLeaseLostError: then nothing is told
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

  /** Leaves the role for later. @returns the row as it was then; null if the lease was lost already */
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
      // The user before the container, as everywhere: the other way round two writers could wait for each other.
      await this.eventLog.lock(userId);
      const row = await this.find(id);
      if (row?.roleClaimId !== leaseId) throw new RoleLeaseLostError(`the role of container ${id} is no longer held`);
      await this.eventLog.append({ userId, drafts: [eventOf(row)] });
      const update = this.update(id).set(patch).andWhere('role_claim_id = :leaseId', { leaseId });
      const result = await update.execute();
      if (result.affected !== 1) throw new RoleLeaseLostError(`the role of container ${id} is no longer held`);
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

import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import type { Logger } from 'pino';
import { ABSENT_FOR_MS } from '../../database';
import { LOGGER } from '../../logging';
import { Poll } from '../../scheduling';
import { RecoveryQueue } from './recovery-queue';
import { RoleInstaller } from '../roles/role-installer';
import { type AbandonedLease, LeaseLedger } from '../leases/lease-ledger';
import { type HeldLease, LeaseStore } from '../leases/lease-store';
import { isTermOver } from '../leases/lease-term';

/** Each check is one query, which usually finds no lease. */
const CHECK_EVERY_MS = 500;

/** Longer than the wait for the database's answer to an acquisition (see `postgres-sessions.ts`). */
const UNHELD_FOR_MS = 8_000;

/**
 * Ends leases that their holders no longer renew, or whose holder's process has died, then resumes their work. It also
 * ends leases that name this process but are not held in it, because the database failed when they were acquired or
 * released. Every process does so. Each write is conditional on the lease as it was read, so only one process ends it.
 */
@Injectable()
export class LeaseWatch implements OnModuleDestroy {
  private readonly ledger: LeaseLedger;
  private readonly poll: Poll;

  constructor(
    private readonly store: LeaseStore,
    private readonly recovery: RecoveryQueue,
    private readonly roles: RoleInstaller,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.ledger = new LeaseLedger({
      termMs: store.terms.termMs,
      absentForMs: ABSENT_FOR_MS,
      unheldForMs: UNHELD_FOR_MS,
    });
    this.poll = new Poll({
      everyMs: CHECK_EVERY_MS,
      work: () => this.check(),
      onFault: (error) => this.logger.warn({ err: error }, 'leases could not be checked; the next check tries again'),
    });
  }

  /** To be called once Docker is prepared. */
  start(): void {
    this.poll.start();
  }

  onModuleDestroy(): void {
    this.poll.stop();
  }

  private async check(): Promise<void> {
    const leases = await this.store.list();
    for (const left of this.ledger.note(leases, performance.now())) {
      if (await this.end(left)) this.resume(left.lease);
    }
  }

  /** @returns whether to resume the work; false if the lease was renewed, or if another process has ended it */
  private async end({ lease, why }: AbandonedLease): Promise<boolean> {
    if (isTermOver(lease.expiresAt)) return true;
    const ended = why === 'absent' ? await this.store.endAbsent(lease) : await this.store.end(lease);
    const { containerId: container_id, kind } = lease;
    if (ended) this.logger.info({ container_id, kind, why }, 'a lease was abandoned by its holder and is taken over');
    return ended;
  }

  private resume({ kind, containerId }: HeldLease): void {
    if (kind === 'role') this.roles.wake(containerId);
    else void this.recovery.resume(containerId);
  }
}

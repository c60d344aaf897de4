import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import type { Logger } from 'pino';
import { ABSENT_FOR_MS } from '../../database';
import { LOGGER } from '../../logging';
import { Poll } from '../../scheduling';
import { Resumption } from '../operations/resumption';
import { RoleInstaller } from '../roles/role-installer';
import { type HeldLease, HeldLeases } from './held-leases';
import { LeaseLedger, type LeftLease } from './lease-ledger';
import { isTermOver, LeaseTerms } from './lease-term';

/** One query, which mostly finds nothing. */
const LOOK_EVERY_MS = 500;

/**
 * Ends claims that their holders do not renew any more, or whose processes have died, and sees that what they were for goes on.
 * Every process does so; each write is conditional on the lease as it was read, so one of them ends it.
 */
@Injectable()
export class LeaseWatch implements OnModuleDestroy {
  private readonly ledger: LeaseLedger;
  private readonly poll: Poll;

  constructor(
    private readonly held: HeldLeases,
    private readonly resumption: Resumption,
    private readonly roles: RoleInstaller,
    terms: LeaseTerms,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.ledger = new LeaseLedger({ termMs: terms.termMs, absentForMs: ABSENT_FOR_MS });
    this.poll = new Poll({
      everyMs: LOOK_EVERY_MS,
      work: () => this.look(),
      onFault: (error) => this.logger.warn({ err: error }, 'leases could not be looked at; it is tried again'),
    });
  }

  /** To be called once Docker is prepared. */
  start(): void {
    this.poll.start();
  }

  onModuleDestroy(): void {
    this.poll.stop();
  }

  private async look(): Promise<void> {
    const leases = await this.held.list();
    for (const left of this.ledger.note(leases, performance.now())) {
      if (await this.end(left)) this.goOn(left.lease);
    }
  }

  /** @returns whether it is over, and not by another process that will see to the rest */
  private async end({ lease, why }: LeftLease): Promise<boolean> {
    if (isTermOver(lease.expiresAt)) return true;
    const ended = why === 'absent' ? await this.held.endAbsent(lease) : await this.held.end(lease);
    const { containerId: container_id, kind } = lease;
    if (ended) this.logger.info({ container_id, kind, why }, 'a lease was left by its holder and is taken over');
    return ended;
  }

  private goOn({ kind, containerId }: HeldLease): void {
    if (kind === 'role') this.roles.wake(containerId);
    else void this.resumption.resume(containerId);
  }
}

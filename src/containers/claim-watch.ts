import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import type { Logger } from 'pino';
import { ABSENT_FOR_MS } from '../database';
import { Poll } from '../events';
import { LOGGER } from '../logging';
import { ClaimTerms, isTermOver } from './claim-term';
import { type HeldClaim, HeldClaims } from './held-claims';
import { RoleInstaller } from './roles/role-installer';
import { ClaimLedger, type LeftClaim } from './claim-ledger';
import { Resumption } from './lifecycle/resumption';

/** One query, which mostly finds nothing. */
const LOOK_EVERY_MS = 500;

/**
 * Ends claims that their holders do not renew any more, or whose processes have died, and sees that what they were for goes on.
 * Every process does so; each write is conditional on the claim as it was read, so one of them ends it.
 */
@Injectable()
export class ClaimWatch implements OnModuleDestroy {
  private readonly ledger: ClaimLedger;
  private readonly poll: Poll;

  constructor(
    private readonly held: HeldClaims,
    private readonly resumption: Resumption,
    private readonly roles: RoleInstaller,
    terms: ClaimTerms,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.ledger = new ClaimLedger({ termMs: terms.termMs, absentForMs: ABSENT_FOR_MS });
    this.poll = new Poll({
      everyMs: LOOK_EVERY_MS,
      work: () => this.look(),
      onFault: (error) => this.logger.warn({ err: error }, 'claims could not be looked at; it is tried again'),
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
    const claims = await this.held.list();
    for (const left of this.ledger.note(claims, performance.now())) {
      if (await this.end(left)) this.goOn(left.claim);
    }
  }

  /** @returns whether it is over, and not by another process that will see to the rest */
  private async end({ claim, why }: LeftClaim): Promise<boolean> {
    if (isTermOver(claim.expiresAt)) return true;
    const ended = why === 'absent' ? await this.held.endAbsent(claim) : await this.held.end(claim);
    const { containerId: container_id, kind } = claim;
    if (ended) this.logger.info({ container_id, kind, why }, 'a claim was left by its holder and is taken over');
    return ended;
  }

  private goOn({ kind, containerId }: HeldClaim): void {
    if (kind === 'role') this.roles.wake(containerId);
    else void this.resumption.resume(containerId);
  }
}

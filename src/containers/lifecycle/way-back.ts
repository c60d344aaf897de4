import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { EngineError } from '../../docker';
import { databaseFault, DomainError, ErrorCode } from '../../errors';
import { LOGGER } from '../../logging';
import { ClaimLostError } from '../container.repository';
import { type Ending, isEnding, isRolledBack, type Operation, type Verb } from '../container-state';
import { CancelledError, Claim } from './claim';
import { Recovery } from './recovery';
import { settleFailedCreation, type Settlement } from './settlement';

const FAILED: Readonly<Record<Verb | Ending, ErrorCode>> = {
  create: 'create_failed',
  start: 'start_failed',
  stop: 'stop_failed',
  delete: 'delete_failed',
  update: 'update_failed',
  expire: 'stop_failed',
  idle: 'stop_failed',
};

/** Of a creation that something else takes over from. */
const INTERRUPTED = 'interrupted';

const NOTHING: Settlement = { patch: {}, events: [] };

/** Leads an operation back that cannot go on: its own when a step failed, or that of a holder who died. */
@Injectable()
export class WayBack {
  constructor(
    private readonly recovery: Recovery,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Deals with what an operation left that was interrupted, or could not be rolled back, before `verb` goes on from there. A
   * creation that something else takes over from has failed.
   *
   * @throws EngineError, ClaimLostError
   */
  async takeOver(claim: Claim, verb: Verb | Ending): Promise<void> {
    if (claim.interrupted === null) return;
    // Only an update goes on from a container that runs again. A stop or a delete must not depend on a start, and a start
    // knows how to deal with a container that cannot be started any more.
    const needless = verb !== 'update' && isRolledBack(claim.interrupted);
    await this.recovery.recover(claim, needless ? 'reconcile' : claim.interrupted);
    if (claim.row.status === 'creating') {
      const { patch, events } = settleFailedCreation(claim.row, INTERRUPTED);
      await claim.record(patch, events);
    }
    claim.tidied();
  }

  /** Takes back what a failed operation did, or leaves that to the next claim. */
  async goBack(claim: Claim, verb: Verb | Ending, error: unknown): Promise<void> {
    const { id } = claim.row;
    this.logger.warn({ err: error, container_id: id, operation: verb }, `${verb} failed`);
    if (error instanceof ClaimLostError) {
      claim.end();
      return;
    }
    // What a dead holder left still comes first, where it was not even that far.
    const way = claim.interrupted ?? wayFrom(verb);
    const unmade = verb === 'create' || (verb === 'start' && claim.row.status === 'error');
    try {
      // Before anything is taken back in Docker: what the database did not acknowledge may be the truth by now.
      await claim.confirm();
      // A creation is over even where Docker does not answer; the sweep removes what it may have left.
      await this.recovery.recover(claim, way).catch((fault: unknown) => {
        if (!unmade) throw fault;
      });
      const failed = unmade ? reasonOf(error) : claim.row.status === 'creating' ? INTERRUPTED : null;
      const { patch, events } = failed === null ? NOTHING : settleFailedCreation(claim.row, failed);
      await claim.settle(patch, events);
    } catch (fault) {
      if (fault instanceof ClaimLostError) {
        claim.end();
        return;
      }
      this.logger.error({ err: fault, container_id: id, operation: verb }, `${verb} could not be taken back yet`);
      await this.giveUp(claim, verb === 'create' ? 'create' : way);
    }
  }

  /**
   * Ends a claim whose rollback failed, for `RollbackRetries` and whoever claims next. Where Docker still shows the container,
   * the row follows it in the same transaction, so that nobody is told of a container that runs while it does not. Never throws.
   *
   * @param way what is left to do
   */
  async giveUp(claim: Claim, way: Operation): Promise<void> {
    const followed = await this.recovery.compare(claim.row, way).catch(() => null);
    const mustRunAgain = isRolledBack(way) && claim.row.status === 'running' && followed?.patch.status === 'stopped';
    await claim.abandon(mustRunAgain ? 'restart' : way, followed ?? NOTHING).catch(() => undefined);
  }

  /**
   * Ends the claim of an operation that failed before it did anything in Docker: nothing is to be taken back but what a dead
   * holder left, which stays to be done. Never throws.
   */
  async release(claim: Claim): Promise<void> {
    try {
      // What the database did not acknowledge may be committed, and the claim be over.
      await claim.confirm();
      if (claim.interrupted === null) await claim.settle({});
      else await claim.abandon(claim.interrupted);
    } catch {
      // It runs out by itself.
      claim.end();
    }
  }

  /** What the caller is told of it. */
  failure(verb: Verb | Ending, error: unknown): DomainError {
    if (error instanceof DomainError) return error;
    const fault = databaseFault(error);
    if (fault) return fault;
    const code =
      error instanceof EngineError ? engineCode(error) : error instanceof ClaimLostError ? 'claim_lost' : FAILED[verb];
    return new DomainError(FAILED[verb], { code, cause: error });
  }
}

/** An ending stays one, so that a stop whose answer was lost is told for what it was. */
function wayFrom(verb: Verb | Ending): Operation {
  if (isEnding(verb)) return verb;
  return verb === 'update' || verb === 'delete' ? 'undo' : 'reconcile';
}

function reasonOf(error: unknown): string {
  if (error instanceof CancelledError) return 'cancelled';
  if (!(error instanceof EngineError)) return 'docker_error';
  return error.code === 'aborted' ? 'cancelled' : error.code;
}

/** Docker's own state of affairs, where it is one that a client can act on. */
function engineCode(error: EngineError): string {
  const told = [
    'docker_unavailable',
    'docker_changed',
    'image_not_found',
    'image_access_denied',
    'image_unavailable',
    'start_refused',
    'data_too_large',
    'copy_failed',
  ];
  return told.includes(error.code) ? error.code : 'docker_error';
}

import { Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { DomainError } from '../errors';
import { requestHash } from '../idempotency';
import { Clock } from '../scheduling';
import { assertSession, type Caller } from './access/container-access';
import * as answer from './dto/responses';
import { type Inserted, Insertion } from './insertion';
import { newContainer } from './new-container';
import { ContainerLeases } from './operations/container-leases';
import { ContainerOperations } from './operations/operations';
import { type CreateRequest, Specifications } from './specification';
import { WarmCreation } from './warm-creation';

/** Options that make a creation safe to retry. */
export interface CreateOptions {
  /** For 24 hours, the same key with the same request creates nothing and returns the first answer. */
  readonly idempotencyKey?: string | undefined;
  /** Called if the answer is replayed. */
  readonly onReplayed?: () => void;
}

/** Accepts new containers: takes a warm slot, or inserts the row under its first lease and starts the operation. */
@Injectable()
export class Creation {
  constructor(
    private readonly specifications: Specifications,
    private readonly warm: WarmCreation,
    private readonly insertion: Insertion,
    private readonly leases: ContainerLeases,
    private readonly operations: ContainerOperations,
    private readonly clock: Clock,
  ) {}

  /**
   * Accepts a new container. It runs at once if there is a warm slot for it. Otherwise it is created in the
   * background, and events report the progress.
   *
   * @throws DomainError `invalid_parameters`, `container_limit_reached`, `name_taken`, `guest_session_expired`,
   *   `idempotency_key_reused`, `no_capacity`, `exec_not_allowed`
   */
  async create(caller: Caller, request: CreateRequest, options: CreateOptions): Promise<answer.ContainerCreatedView> {
    assertSession(caller, this.clock.now());
    const id = randomUUID();
    const { limits, ...settings } = this.specifications.resolve({ id, tier: caller.tier }, request);
    const { idempotencyKey: key, onReplayed } = options;
    const accepted = {
      userId: caller.userId,
      tier: caller.tier,
      limit: limits.containers,
      pool: limits.pool,
      once: key === undefined ? null : { key, requestHash: requestHash(request) },
      answerOf: (row: Parameters<typeof answer.created>[0]) => answer.created(row, { session: caller, tier: limits }),
    };
    const isNamed = (request.name ?? null) !== null;
    const inSlot = await this.warm.create({ caller, request, settings: { ...settings, limits }, accepted, isNamed });
    if (inSlot && 'replayed' in inSlot) onReplayed?.();
    if (inSlot) return 'replayed' in inSlot ? inSlot.replayed : inSlot.answer;
    const { columns, grant } = this.leases.newLease(id, 'create');
    const now = this.clock.now();
    const row = newContainer({ id, userId: caller.userId, request, ...settings, lease: columns, now });
    let inserted: Inserted;
    try {
      inserted = await this.insertion.insert(row, accepted);
    } catch (error) {
      if (isNamed || !(error instanceof DomainError && error.kind === 'name_taken')) throw error;
      // The taken name was generated; try another.
      return this.create(caller, request, options);
    }
    if ('replayed' in inserted) {
      onReplayed?.();
      return inserted.replayed;
    }
    void this.operations.create(inserted.row, grant);
    return inserted.answer;
  }
}

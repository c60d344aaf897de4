import { Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { DomainError } from '../../errors';
import { onceOnly } from '../../idempotency';
import { Clock } from '../../scheduling';
import { assertSession, type Caller } from '../access/container-access';
import * as answer from '../dto/responses';
import { type Inserted, Insertion } from './insertion';
import { newContainer } from './new-container';
import { ContainerLeases } from '../operations/container-leases';
import { creating } from '../operations/create';
import { OperationRunner } from '../operations/operation-runner';
import { OriginLookup, type Origins } from './origins';
import { type CreateRequest, Specifications } from './specification';
import { type AcceptedCreation, WarmCreation } from './warm-creation';

/** Options that make a creation safe to retry. */
export interface CreateOptions {
  /** For 24 hours, the same key with the same request creates nothing and returns the first answer. */
  readonly idempotencyKey?: string | undefined;
  /** Called if the answer is replayed. */
  readonly onReplayed?: () => void;
}

/** How often a creation begins anew because its template was replaced meanwhile. */
const MOST_ATTEMPTS = 5;

/** Accepts new containers: takes a warm slot, or inserts the row under its first lease and starts the operation. */
@Injectable()
export class Creation {
  constructor(
    private readonly specifications: Specifications,
    private readonly warm: WarmCreation,
    private readonly insertion: Insertion,
    private readonly leases: ContainerLeases,
    private readonly operations: OperationRunner,
    private readonly origins: OriginLookup,
    private readonly clock: Clock,
  ) {}

  /**
   * Accepts a new container. It runs at once if there is a warm slot for it. Otherwise it is created in the
   * background, and events report the progress.
   *
   * @throws DomainError `invalid_parameters`, `container_limit_reached`, `name_taken`, `guest_session_expired`,
   *   `idempotency_key_reused`, `no_capacity`, `exec_not_allowed`, `snapshot_not_found`, `not_authorized`,
   *   `snapshot_not_ready`, `node_unavailable`
   */
  async create(caller: Caller, request: CreateRequest, options: CreateOptions): Promise<answer.ContainerCreatedView> {
    assertSession(caller, this.clock.now());
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.createFrom(await this.origins.of(caller, request), { caller, request, options });
      } catch (error) {
        const isMissing = error instanceof DomainError && error.kind === 'snapshot_not_found';
        if (!isMissing || request.snapshot != null || attempt === MOST_ATTEMPTS) throw error;
      }
    }
  }

  private async createFrom(
    origins: Origins,
    { caller, request, options }: { caller: Caller; request: CreateRequest; options: CreateOptions },
  ): Promise<answer.ContainerCreatedView> {
    const { origin } = origins;
    const settings = this.specifications.resolve({ tier: caller.tier, ...origins }, request);
    const { limits } = settings;
    const { idempotencyKey: key, onReplayed } = options;
    const once = onceOnly(key, request);
    if (request.custom_image != null) {
      await this.origins.assertOwnImage(settings.image, { userId: caller.userId, once });
    }
    const accepted = {
      userId: caller.userId,
      tier: caller.tier,
      limit: limits.containers,
      pool: limits.pool,
      preferred: origin?.nodeId ?? null,
      bytes: origin?.dataBytes ?? 0,
      once,
      answerOf: (row: Parameters<typeof answer.created>[0]) => answer.created(row, { session: caller, tier: limits }),
    };
    const isNamed = (request.name ?? null) !== null;
    const keptLayerMb = origin?.keptLayerMb ?? 0;
    const asked = { caller, request, settings, keptLayerMb, accepted, isNamed };
    const inSlot = await this.warm.create(asked);
    const inserted = inSlot ?? (await this.insert(asked, origin?.id ?? null));
    if (!('replayed' in inserted)) return inserted.answer;
    onReplayed?.();
    return inserted.replayed;
  }

  /** Inserts the row, and starts the operation. */
  private async insert(asked: AcceptedCreation, seedSnapshotId: string | null): Promise<Inserted> {
    const { caller, request, settings, keptLayerMb, accepted, isNamed } = asked;
    const id = randomUUID();
    const { columns, grant } = this.leases.newLease(id, 'create');
    const sealed = this.specifications.seal(id, settings);
    const now = this.clock.now();
    const { userId } = caller;
    const row = newContainer({ id, userId, request, ...sealed, seedSnapshotId, keptLayerMb, lease: columns, now });
    try {
      const inserted = await this.insertion.insert(row, accepted);
      if (!('replayed' in inserted)) void this.operations.runCreation(inserted.row, grant, creating({ isNew: true }));
      return inserted;
    } catch (error) {
      if (isNamed || !(error instanceof DomainError && error.kind === 'name_taken')) throw error;
      // The taken name was generated; try another.
      return this.insert(asked, seedSnapshotId);
    }
  }
}

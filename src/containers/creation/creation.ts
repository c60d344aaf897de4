import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { insufficientScope } from '../../auth';
import { DomainError } from '../../errors';
import { onceOnly, type OnceOnly, type RequestKey } from '../../idempotency';
import { LOGGER } from '../../logging';
import { Clock, within } from '../../scheduling';
import { assertSession, type Caller } from '../access/container-access';
import * as answer from '../dto/responses';
import type { ContainerRow } from '../model/container.entity';
import type { WarmSlot } from '../model/warm-slot.entity';
import { creating } from '../operations/create';
import { OperationRunner } from '../operations/operation-runner';
import { starting } from '../operations/start';
import { newRun, RunPolicies } from '../policies/run-policy';
import { FREE } from '../rows/container.repository';
import { NoSlotError } from '../rows/warm-slots';
import { WarmPool } from '../warm/warm-pool';
import { type CheckedCreation, type Inserted, Insertion } from './insertion';
import { CreationSources, type CreateRequest, Specifications } from './specification';

/** How often a creation begins anew because its template was replaced meanwhile. */
const MOST_ATTEMPTS = 5;

/** How long Docker may take to show that a slot runs, in milliseconds. It normally takes three. */
const LOOK_MS = 2_000;

/** Gives creations containers that run already. */
@Injectable()
export class WarmCreation {
  constructor(
    private readonly pool: WarmPool,
    private readonly insertion: Insertion,
    private readonly policies: RunPolicies,
    private readonly operations: OperationRunner,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Creates the container in a warm slot. Resolves once it has been seen to run; if it does not, it is created anew
   * under the same id first.
   *
   * @returns null if there is no slot for it; then nothing is changed
   * @throws DomainError `name_taken`, `idempotency_key_reused`
   */
  async createInSlot(checked: CheckedCreation): Promise<Inserted | null> {
    const { slotImage: image } = checked.settings;
    if (this.pool.isOff || image === null) return null;
    const began = performance.now();
    const inserted = await this.takeSlot(checked, image);
    if (inserted === null || 'replayed' in inserted) return inserted;
    const row = await this.confirmed(inserted.row);
    if (row === inserted.row) this.pool.noteHit(performance.now() - began);
    return row === inserted.row ? inserted : { row, answer: checked.answerOf(row) };
  }

  /** Docker's faults are left to the creation without a slot, which reports them in the row. */
  private async takeSlot(checked: CheckedCreation, image: string): Promise<Inserted | null> {
    const { userId, request, settings, snapshot } = checked;
    const { resources, network, limits } = settings;
    try {
      const keys = await this.pool.keysFor({
        image,
        memoryMb: resources.memory_mb,
        cpuShares: resources.cpu_shares,
        diskMb: resources.disk_mb,
        keptLayerMb: snapshot?.keptLayerMb ?? 0,
        network,
        processes: limits.processes,
        pool: limits.pool,
      });
      if (keys.length === 0) return null;
      const policy = await this.policies.policyOf(userId);
      const rowOf = (slot: WarmSlot): ContainerRow => {
        const { id, engineId, nodeId, imageId, imageDigest, runtime, ipAddress, runStartedAt } = slot;
        if (this.pool.mayBeUsed(slot)) throw new NoSlotError('another program ran in the slot');
        const row = this.insertion.rowOf(checked, { id, lease: FREE });
        return {
          ...row,
          ...newRun(row, policy),
          seedSnapshotId: null,
          status: 'running',
          generation: 1,
          engineId,
          nodeId,
          imageId,
          imageDigest,
          runtime,
          ipAddress,
          runStartedAt,
        };
      };
      return await this.insertion.insertWarm(rowOf, checked, { keys });
    } catch (error) {
      if (error instanceof NoSlotError) this.pool.noteMiss('taken');
      else if (error instanceof DomainError && !isGeneratedNameTaken(request, error)) throw error;
      else if (!(error instanceof DomainError)) this.logger.warn({ err: error }, 'no warm slot could be looked for');
      return null;
    }
  }

  /** @returns the same row if its container runs; the row after it was created anew if not */
  private async confirmed(row: ContainerRow): Promise<ContainerRow> {
    try {
      if (await within(this.pool.isSound(row), { ms: LOOK_MS })) return row;
      this.pool.noteMiss('not_running');
      this.logger.warn({ container_id: row.id }, 'a warm slot did not run; the container is created anew');
      return (await this.operations.run(row, starting({ isReplaced: true }))).row;
    } catch (error) {
      // From its insertion on it is a container like any other, which the watcher and the sweeps look after.
      this.logger.warn({ err: error, container_id: row.id }, 'a container in a warm slot could not be confirmed');
      return row;
    }
  }
}

/** Accepts new containers: takes a warm slot, or inserts the row under its first lease and starts the operation. */
@Injectable()
export class Creation {
  constructor(
    private readonly sources: CreationSources,
    private readonly specifications: Specifications,
    private readonly warm: WarmCreation,
    private readonly insertion: Insertion,
    private readonly operations: OperationRunner,
    private readonly clock: Clock,
  ) {}

  /**
   * Accepts a new container. It runs at once if there is a warm slot for it. Otherwise it is created in the
   * background, and events report the progress.
   *
   * @throws DomainError `invalid_parameters`, `container_limit_reached`, `name_taken`, `guest_session_expired`,
   *   `idempotency_key_reused`, `no_capacity`, `exec_not_allowed`, `snapshot_not_found`, `not_authorized`,
   *   `snapshot_not_ready`, `node_unavailable`, `insufficient_permissions` if the token is for one container
   */
  async accept(
    caller: Caller,
    request: CreateRequest,
    { key, onReplayed }: RequestKey,
  ): Promise<answer.ContainerCreatedView> {
    if (caller.boundTo !== null) throw insufficientScope();
    assertSession(caller, this.clock.now());
    const once = onceOnly(key, request);
    for (let attempt = 1; ; attempt += 1) {
      try {
        const checked = await this.check(caller, request, once);
        const inserted = (await this.warm.createInSlot(checked)) ?? (await this.insertAndRun(checked));
        if (!('replayed' in inserted)) return inserted.answer;
        onReplayed?.();
        return inserted.replayed;
      } catch (error) {
        const isMissing = error instanceof DomainError && error.kind === 'snapshot_not_found';
        if (!isMissing || request.snapshot != null || attempt === MOST_ATTEMPTS) throw error;
      }
    }
  }

  private async check(caller: Caller, request: CreateRequest, once: OnceOnly | null): Promise<CheckedCreation> {
    const { userId, tier } = caller;
    const source = await this.sources.of(caller, request);
    const settings = this.specifications.resolve({ tier, ...source }, request);
    if (request.custom_image != null) await this.sources.assertOwnImage(settings.image, { userId, once });
    return {
      userId,
      tier,
      request,
      settings,
      snapshot: source.snapshot,
      once,
      answerOf: (row) => answer.created(row, { session: caller, tier: settings.limits }),
    };
  }

  private async insertAndRun(checked: CheckedCreation): Promise<Inserted> {
    const { row, grant } = this.insertion.newRow(checked);
    try {
      const inserted = await this.insertion.insert(row, checked);
      if (!('replayed' in inserted)) {
        void this.operations.runCreation(inserted.row, grant, creating({ isNew: true }));
      }
      return inserted;
    } catch (error) {
      if (!isGeneratedNameTaken(checked.request, error)) throw error;
      return this.insertAndRun(checked);
    }
  }
}

/** Whether another name may be free: the user gave none. */
function isGeneratedNameTaken({ name }: Pick<CreateRequest, 'name'>, error: unknown): boolean {
  return name == null && error instanceof DomainError && error.kind === 'name_taken';
}

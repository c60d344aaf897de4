import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { DomainError } from '../../errors';
import { LOGGER } from '../../logging';
import { Clock, within } from '../../scheduling';
import type { Caller } from '../access/container-access';
import { type Inserted, Insertion } from './insertion';
import type { ContainerRow } from '../model/container.entity';
import { newContainer } from './new-container';
import { OperationRunner } from '../operations/operation-runner';
import { starting } from '../operations/start';
import { newRun, RunPolicies } from '../policies/run-policy';
import { FREE } from '../rows/container.repository';
import { NoSlotError } from '../rows/warm-slots';
import { type CreateRequest, type Specification, Specifications } from './specification';
import { WarmPool } from '../warm/warm-pool';

/** How long Docker may take to show that a slot runs, in milliseconds. It normally takes three. */
const LOOK_MS = 2_000;

/** A request for a container that was checked and resolved. */
export interface AcceptedCreation {
  readonly caller: Caller;
  readonly request: CreateRequest;
  readonly settings: Specification;
  /** The size, in MiB, of the layers of its image that were written in containers. */
  readonly keptLayerMb: number;
  readonly accepted: Parameters<Insertion['insert']>[1];
  /** Whether the user gave the name. */
  readonly isNamed: boolean;
}

/** Gives creations containers that run already. */
@Injectable()
export class WarmCreation {
  constructor(
    private readonly specifications: Specifications,
    private readonly pool: WarmPool,
    private readonly insertion: Insertion,
    private readonly policies: RunPolicies,
    private readonly operations: OperationRunner,
    private readonly clock: Clock,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Creates the container in a warm slot. Resolves once it has been seen to run; if it does not, it is created anew
   * under the same id first.
   *
   * @returns null if there is no slot for it; then nothing is changed
   * @throws DomainError `name_taken`, `idempotency_key_reused`
   */
  async create(asked: AcceptedCreation): Promise<Inserted | null> {
    const { slotImage: image } = asked.settings;
    if (this.pool.isOff || image === null) return null;
    const began = performance.now();
    const inserted = await this.take({ ...asked, image });
    if (inserted === null || 'replayed' in inserted) return inserted;
    const row = await this.confirmed(inserted.row);
    if (row === inserted.row) this.pool.noteHit(performance.now() - began);
    return row === inserted.row ? inserted : { row, answer: asked.accepted.answerOf(row) };
  }

  /** Docker's faults are left to the creation without a slot, which reports them in the row. */
  private async take(asked: AcceptedCreation & { readonly image: string }): Promise<Inserted | null> {
    const { caller, request, settings, keptLayerMb, accepted, isNamed, image } = asked;
    const { resources, network, limits } = settings;
    try {
      const slotKeys = await this.pool.keysFor({
        image,
        memoryMb: resources.memory_mb,
        cpuShares: resources.cpu_shares,
        diskMb: resources.disk_mb,
        keptLayerMb,
        network,
        processes: limits.processes,
        pool: limits.pool,
      });
      if (slotKeys.length === 0) return null;
      const policy = await this.policies.policyOf(caller.userId);
      return await this.insertion.insertWarm(
        (slot) => {
          const { id, engineId, nodeId, imageId, imageDigest, runtime, ipAddress, runStartedAt } = slot;
          if (this.pool.mayBeUsed(slot)) throw new NoSlotError('another program ran in the slot');
          const sealed = this.specifications.seal(id, settings);
          const now = this.clock.now();
          return {
            ...newContainer({ id, userId: caller.userId, request, ...sealed, keptLayerMb, lease: FREE, now }),
            ...newRun(policy),
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
        },
        { ...accepted, slotKeys },
      );
    } catch (error) {
      if (error instanceof NoSlotError) this.pool.noteMiss('taken');
      else if (error instanceof DomainError && (isNamed || error.kind !== 'name_taken')) throw error;
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

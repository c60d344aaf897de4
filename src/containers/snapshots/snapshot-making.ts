import { Inject, Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { DomainError } from '../../errors';
import { IdempotencyKeys, onceOnly, type RequestKey } from '../../idempotency';
import { LOGGER } from '../../logging';
import { Clock, Throttle } from '../../scheduling';
import { TiersService } from '../../tiers';
import { type Caller, ContainerAccess } from '../access/container-access';
import { Capacity } from '../capacity/capacity';
import { type CreateSnapshotDto, snapshotView, type SnapshotView } from '../dto/snapshots';
import { type ContainerRow, keptWith, MIB } from '../model/container.entity';
import { bytesOf, layerReference, nameAfter, type SnapshotRow, snapshotVolume } from '../model/snapshot.entity';
import { assertDataFits, DataVolumes } from '../operations/data-volumes';
import type { StepResults } from '../operations/executor';
import { OperationRunner } from '../operations/operation-runner';
import { RunningWork } from '../operations/running-work';
import { type SnapshotPreparation, takingSnapshot } from '../operations/snapshot';
import { type SnapshotLimits, SnapshotRepository } from '../rows/snapshot.repository';
import { SnapshotRemoval } from './snapshot-removal';

/** The share of a snapshot's progress that the copy of the data takes; the rest is the layer. */
const COPY = { from: 20, to: 95 };
const PROGRESS_MS = 500;

/** How a request for a snapshot ended: `isReplayed` if nothing is to be made, because an earlier one has done so. */
interface KeyedOutcome {
  readonly isReplayed: boolean;
}

/** Inserts a snapshot. @param more further writes of the same transaction */
type Insert = (more?: () => Promise<void>) => Promise<void>;

/** What a snapshot is to be called and used for. `Result` is what its insertion leads to. */
interface WantedSnapshot<Result extends KeyedOutcome> {
  readonly name: string | null;
  readonly description: string | null;
  readonly labels: Readonly<Record<string, string>>;
  /** It is made for a fork, and removed once the copies are made. */
  readonly isTransient: boolean;
  /**
   * Called once the snapshot and the copies are inserted: the only container that is to be made from it, on the same
   * node. The data is copied into its volume at once.
   */
  readonly onlyCopy?: (snapshot: SnapshotRow) => Pick<ContainerRow, 'id' | 'volumeName'> | null;
  /** The limits of the user's tier. */
  readonly limits: SnapshotLimits;
  /** Called in place of the insertion, which it runs, in a transaction of its own. */
  readonly around: (snapshot: SnapshotRow, insert: Insert) => Promise<Result>;
}

/** Makes snapshots, each as an operation on its container. */
@Injectable()
export class SnapshotMaking {
  constructor(
    private readonly operations: OperationRunner,
    private readonly snapshots: SnapshotRepository,
    private readonly removal: SnapshotRemoval,
    private readonly volumes: DataVolumes,
    private readonly work: RunningWork,
    private readonly clock: Clock,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Accepts a snapshot: waits for the container's lease, measures, and inserts the row. The snapshot is made in the
   * background, and events report how it ends.
   *
   * @returns what `around` returns, once the snapshot is inserted, or nothing is to be made
   * @throws DomainError `snapshot_limit_reached`, `container_not_running`, `operation_in_progress`,
   *   `container_not_found`, `snapshot_failed`, `invalid_parameters` if the files outside the home are larger than the
   *   container's disk
   */
  async begin<R extends KeyedOutcome>(container: ContainerRow, wanted: WantedSnapshot<R>): Promise<R> {
    return new Promise((accept, refuse) => {
      let inserted: SnapshotRow | null = null;
      const operation = takingSnapshot(async (leased) => {
        const row = await this.rowOf(leased, wanted);
        const insert: Insert = (more) =>
          this.snapshots.insert(row, wanted.limits, async () => {
            await more?.();
            return wanted.onlyCopy?.(row)?.id ?? null;
          });
        const result = await wanted.around(row, insert);
        if (!result.isReplayed) inserted = row;
        accept(result);
        if (result.isReplayed) return null;
        const most = await this.volumes.mostLayerBytes(row.diskMb);
        const mostLayerBytes = wanted.isTransient ? most : Math.min(most, wanted.limits.snapshotMb * MIB);
        return { ...this.preparationOf(row, wanted), mostLayerBytes };
      });
      void this.work.track(() =>
        this.operations.run(container, operation).catch(async (error: unknown) => {
          refuse(error instanceof Error ? error : new Error(String(error)));
          if (inserted !== null) await this.fail(inserted, error);
        }),
      );
    });
  }

  /** @throws DomainError `invalid_parameters` if the files outside the home are larger than the container's disk */
  private async rowOf(container: ContainerRow, wanted: WantedSnapshot<KeyedOutcome>): Promise<SnapshotRow> {
    const { dataBytes, layer } = await this.volumes.keepable(container, { isMeasured: !wanted.isTransient });
    const written = layer?.isWritten === true ? layer.bytes : 0;
    // The copies of a fork have a disk of the same size, and keep all layers on it.
    if (wanted.isTransient) assertDataFits(keptWith(container, written) * MIB, container.diskMb);
    else if (written > container.diskMb * MIB) assertDataFits(written, container.diskMb);
    const now = this.clock.now();
    const id = randomUUID();
    return {
      id,
      userId: container.userId,
      containerId: container.id,
      nodeId: container.nodeId,
      name: wanted.name ?? nameAfter(container, id),
      description: wanted.description,
      labels: { ...wanted.labels },
      status: 'making',
      statusReason: null,
      isTransient: wanted.isTransient,
      onlyCopyId: null,
      copiedFromId: null,
      operationId: container.operationId ?? '',
      image: container.image,
      imageId: container.imageId,
      imageDigest: container.imageDigest,
      root: layer !== null,
      layerId: null,
      role: container.role,
      diskMb: container.diskMb,
      dataBytes: dataBytes === null ? 0 : Math.max(1, dataBytes),
      // At least 1 marks that there is a layer to keep: that of the container, or one below.
      layerBytes: layer?.isWritten === true || layer?.isOnLayer === true ? Math.max(1, layer.bytes) : 0,
      keptLayerMb: container.keptLayerMb,
      downtimeMs: null,
      createdAt: now,
      updatedAt: now,
      isClean: true,
      meteredSince: null,
    };
  }

  private preparationOf(row: SnapshotRow, wanted: WantedSnapshot<KeyedOutcome>): SnapshotPreparation {
    const { limits } = wanted;
    const onlyCopy = wanted.onlyCopy?.(row) ?? null;
    const own = { owner: { id: row.id, isSnapshot: true }, volume: snapshotVolume(row) };
    return {
      snapshot: {
        ...(onlyCopy ? { owner: { id: onlyCopy.id, isSnapshot: false }, volume: onlyCopy.volumeName } : own),
        layer: row.layerBytes > 0 ? layerReference(row) : null,
        hasData: row.dataBytes > 0,
      },
      listeners: this.reporterOf(row),
      finish: ({ layer, committedBytes = 0, copiedBytes = 0, suspendedMs = 0 }: StepResults) => {
        const { imageId: layerId = null, bytes: layerBytes = 0 } = layer ?? {};
        const dataBytes = row.dataBytes === 0 ? 0 : Math.max(1, copiedBytes);
        const keptLayerMb = keptWith(row, committedBytes);
        const made = { root: row.root, layerId, layerBytes, keptLayerMb, dataBytes, downtimeMs: suspendedMs };
        return this.snapshots.finish(row, made, limits);
      },
    };
  }

  /** Users see the copy go on; a failure to tell them does not fail the snapshot. */
  private reporterOf(row: SnapshotRow): NonNullable<SnapshotPreparation['listeners']> {
    const throttle = new Throttle(PROGRESS_MS);
    return {
      onCopy: ({ percent, message }) => {
        if (!throttle.passes()) return;
        const whole = Math.round(COPY.from + ((COPY.to - COPY.from) * percent) / 100);
        void this.snapshots.emitProgress(row, { message, percent: whole }).catch((error: unknown) => {
          this.logger.warn({ err: error, snapshot_id: row.id }, 'progress could not be emitted');
        });
      },
      onLayer: ({ imageId: layerId, bytes, isDeep = false }) => {
        // The copies of a fork are created from it while the data is still copied.
        if (!row.isTransient || isDeep) return;
        void this.snapshots.noteLayer(row, { layerId, keptLayerMb: keptWith(row, bytes) }).catch((error: unknown) => {
          this.logger.warn({ err: error, snapshot_id: row.id }, 'the image of a fork could not be recorded yet');
        });
      },
    };
  }

  private async fail(row: SnapshotRow, error: unknown): Promise<void> {
    const reason = error instanceof DomainError ? error.code : 'internal_error';
    try {
      await this.snapshots.fail(row, reason);
      await this.removal.clean(row.id);
    } catch (fault) {
      this.logger.warn({ err: fault, snapshot_id: row.id }, 'a failed snapshot could not be recorded yet');
    }
  }
}

/** Accepts requests for snapshots. */
@Injectable()
export class SnapshotCreation {
  constructor(
    private readonly containers: ContainerAccess,
    private readonly making: SnapshotMaking,
    private readonly capacity: Capacity,
    private readonly tiers: TiersService,
    private readonly keys: IdempotencyKeys,
  ) {}

  /**
   * Accepts a snapshot of a container. It is made in the background, and events report how it ends.
   *
   * @throws DomainError `container_not_found`, `ambiguous_id`, `not_authorized`, `guest_session_expired`,
   *   `snapshot_limit_reached`, `container_not_running` if the container's creation is under way or has failed,
   *   `operation_in_progress`, `no_capacity`, `idempotency_key_reused`, `snapshot_failed`,
   *   `invalid_parameters` if the files outside the home are larger than the container's disk
   */
  async accept(
    caller: Caller,
    id: string,
    request: Readonly<CreateSnapshotDto>,
    { key, onReplayed }: RequestKey = {},
  ): Promise<SnapshotView> {
    const container = await this.containers.findInSession(caller, id);
    const once = onceOnly(key, { route: 'snapshots', container: container.id, ...request });
    const earlier = await this.keys.earlier<SnapshotView>(caller.userId, once);
    if (earlier) {
      onReplayed?.();
      return earlier;
    }
    const { answer, isReplayed } = await this.making.begin(container, {
      name: request.name ?? null,
      description: request.description ?? null,
      labels: request.labels ?? {},
      isTransient: false,
      limits: this.tiers.limitsOf(caller.tier),
      around: async (row, insert) => {
        await this.capacity.assertDisk(bytesOf(row));
        return this.keys.once<SnapshotView>(caller.userId, once, async (keep) => {
          await keep({ answer: snapshotView(row), id: row.id });
          await insert();
        });
      },
    });
    if (isReplayed) onReplayed?.();
    return answer;
  }
}

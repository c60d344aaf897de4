import { Injectable } from '@nestjs/common';
import { randomInt, randomUUID } from 'node:crypto';
import { IdempotencyKeys, type OnceOnly } from '../../idempotency';
import { needsInstallation } from '../../roles';
import { Clock } from '../../scheduling';
import type { RequestedEnds, Tier } from '../../tiers';
import { Capacity } from '../capacity/capacity';
import type { CreateContainerDto } from '../dto/requests';
import type { ContainerCreatedView } from '../dto/responses';
import type { Grant } from '../leases/lease-store';
import { containerFacts, type ContainerRow } from '../model/container.entity';
import type { SnapshotRow } from '../model/snapshot.entity';
import type { WarmSlot } from '../model/warm-slot.entity';
import { ContainerLeases, type OperationColumns } from '../operations/container-leases';
import { containerName } from '../operations/steps';
import { ContainerRepository } from '../rows/container.repository';
import { Environments } from '../rows/environments';
import type { CapacityBounds } from '../rows/reserved-capacity';
import type { SourceSnapshot, Specification } from './specification';

/** What the row of a new container follows from, besides its id and lease. */
interface NewContainer {
  readonly userId: string;
  readonly request: Pick<
    CreateContainerDto,
    'name' | 'labels' | 'auto_start' | 'lifetime_seconds' | 'end_action' | keyof RequestedEnds
  >;
  readonly settings: Specification;
  /** The snapshot that it is made from; null: its image alone. */
  readonly snapshot: SourceSnapshot | null;
}

/** The row of a new container, leased by its own creation. */
export interface NewRow {
  /** As inserted, once it is: with its node. */
  row: ContainerRow;
  readonly grant: Grant;
}

/** A creation that was checked and resolved, and is accepted if there is room for it. */
export interface CheckedCreation extends NewContainer {
  readonly tier: string;
  /** With an idempotency key: creates nothing if the key was used. */
  readonly once: OnceOnly | null;
  readonly answerOf: (row: ContainerRow) => ContainerCreatedView;
}

/** The inserted row with its answer; or the earlier answer under the key, and then nothing is inserted. */
export type Inserted =
  | { readonly row: ContainerRow; readonly answer: ContainerCreatedView }
  | { readonly replayed: ContainerCreatedView };

type Keep = (row: ContainerRow) => Promise<void>;

/** Inserts the rows of creations, within the tier's and the machine's limits, once under an idempotency key. */
@Injectable()
export class Insertion {
  constructor(
    private readonly capacity: Capacity,
    private readonly repository: ContainerRepository,
    private readonly keys: IdempotencyKeys,
    private readonly leases: ContainerLeases,
    private readonly environments: Environments,
    private readonly clock: Clock,
  ) {}

  /** Makes a row for {@link insert}, with an id and a lease of its own. */
  newRow(container: NewContainer): NewRow {
    const id = randomUUID();
    const { columns, grant } = this.leases.newLease(id, 'create');
    return { row: this.rowOf(container, { id, lease: columns }), grant };
  }

  /** @throws DomainError `container_limit_reached`, `name_taken`, `idempotency_key_reused`, `no_capacity` */
  insert(row: ContainerRow, checked: CheckedCreation): Promise<Inserted> {
    const { tier, settings } = checked;
    return this.within(checked, async (bounds, keep) => {
      await keep(row);
      // Last, because the insertion locks the reserved capacity, which all users share.
      return this.insertRow(row, { limit: settings.limits.containers, tier, bounds });
    });
  }

  /**
   * Inserts a container in a warm slot, as {@link ContainerRepository.insertWarm} does.
   *
   * @throws NoSlotError, DomainError `name_taken`, `idempotency_key_reused`
   */
  insertWarm(
    rowOf: (slot: WarmSlot) => ContainerRow,
    checked: CheckedCreation,
    { keys }: { keys: readonly string[] },
  ): Promise<Inserted> {
    const { userId, settings } = checked;
    return this.within(checked, async (bounds, keep) => {
      const row = await this.repository.insertWarm(rowOf, { userId, keys, limit: settings.limits.containers, bounds });
      // The slot is the container: its id is not known before.
      await keep(row);
      return row;
    });
  }

  /**
   * Inserts all copies of a container, together with the snapshot that they are made from.
   *
   * @param options.insertSnapshot runs its argument in the transaction that inserts the snapshot
   * @param options.answer the answer to the request
   * @throws DomainError `container_limit_reached`, `name_taken`, `idempotency_key_reused`, `no_capacity`
   */
  async insertCopies<T extends object>(
    copies: readonly NewRow[],
    { id: seedSnapshotId, keptLayerMb, layerBytes, nodeId: preferred, userId }: SnapshotRow,
    options: {
      readonly tier: Tier;
      readonly once: OnceOnly | null;
      readonly answer: T;
      readonly insertSnapshot: (insertCopies: () => Promise<void>) => Promise<void>;
    },
  ): Promise<{ readonly answer: T; readonly isReplayed: boolean }> {
    const { tier, once, answer, insertSnapshot } = options;
    const insertAll = async (bounds: CapacityBounds): Promise<void> => {
      for (const copy of copies) {
        const row = { ...copy.row, seedSnapshotId, keptLayerMb };
        copy.row = await this.insertRow(row, { limit: tier.containers, tier: tier.name, bounds });
      }
    };
    await this.capacity.assertDisk(layerBytes);
    return this.capacity.within(
      (bounds) =>
        this.keys.once<T>(userId, once, async (keep) => {
          await keep({ answer, id: copies[0]?.row.id ?? '' });
          await insertSnapshot(() => insertAll(bounds));
        }),
      { preferred, pool: tier.pool },
    );
  }

  /** The row of a new container with this id. Its variables are encrypted for the id. */
  rowOf(
    { userId, request, settings, snapshot }: NewContainer,
    { id, lease }: { id: string; lease: OperationColumns },
  ): ContainerRow {
    const now = this.clock.now();
    return {
      id,
      userId,
      name: request.name ?? generateName(),
      image: settings.image,
      imageId: null,
      imageDigest: null,
      role: settings.role?.name ?? null,
      roleStatus: needsInstallation(settings.role) ? 'pending' : null,
      roleClaimId: null,
      roleClaimHolder: null,
      roleClaimExpiresAt: null,
      sealedEnv: this.environments.seal(id, settings.environment),
      labels: { ...request.labels },
      memoryMb: settings.resources.memory_mb,
      cpuShares: settings.resources.cpu_shares,
      diskMb: settings.resources.disk_mb,
      network: settings.network,
      reservedMemoryMb: settings.resources.memory_mb,
      reservedCpuShares: settings.resources.cpu_shares,
      meteredSince: null,
      status: 'creating',
      statusReason: null,
      engineId: null,
      nodeId: null,
      otherNodeId: null,
      formerNodeId: null,
      notMovedBecause: null,
      unreachableSince: null,
      generation: 0,
      seedSnapshotId: snapshot?.id ?? null,
      forkedFrom: null,
      keptLayerMb: snapshot?.keptLayerMb ?? 0,
      templateName: settings.template?.name ?? null,
      templateVersion: settings.template?.version ?? null,
      volumeName: containerName(id),
      runtime: null,
      ipAddress: null,
      runStartedAt: null,
      runSince: null,
      expiresAt: null,
      expiryWarnedAt: null,
      lifetimeSeconds: request.lifetime_seconds ?? null,
      endAction: request.end_action ?? 'stop',
      endsAt: null,
      lastUsedAt: now,
      autoStopSeconds: request.auto_stop_seconds ?? null,
      idleAction: request.idle_action ?? null,
      autoDeleteSeconds: request.auto_delete_seconds ?? null,
      autoStart: request.auto_start ?? false,
      idleWarnedAt: null,
      pausedAt: null,
      stoppedAt: null,
      deletionWarnedAt: null,
      start: settings.start,
      startRun: null,
      startDueAt: null,
      startFailures: 0,
      startReady: null,
      ...lease,
      revision: 0,
      createdAt: now,
      updatedAt: now,
      deletedAt: null,
      purgeAt: null,
      purgedAt: null,
      removalPendingSince: null,
    };
  }

  private insertRow(
    row: ContainerRow,
    within: { limit: number; tier: string; bounds: CapacityBounds },
  ): Promise<ContainerRow> {
    const fork = row.forkedFrom !== null && { forked_from: row.forkedFrom };
    const event = { type: 'container_created', data: { ...containerFacts(row), ...fork } } as const;
    return this.repository.insert(row, { ...within, event });
  }

  private within(
    { userId, settings, snapshot, once, answerOf }: CheckedCreation,
    insert: (bounds: CapacityBounds, keep: Keep) => Promise<ContainerRow>,
  ): Promise<Inserted> {
    return this.capacity.within(
      async (bounds) => {
        let inserted: ContainerRow | undefined;
        const { answer, isReplayed } = await this.keys.once<ContainerCreatedView>(userId, once, async (keep) => {
          inserted = await insert(bounds, (row) => keep({ answer: answerOf(row), id: row.id }));
        });
        return isReplayed || !inserted ? { replayed: answer } : { row: inserted, answer };
      },
      { preferred: snapshot?.nodeId ?? null, pool: settings.limits.pool, bytes: snapshot?.dataBytes ?? 0 },
    );
  }
}

const QUALITIES = [
  'amber',
  'brisk',
  'calm',
  'clear',
  'deep',
  'early',
  'fair',
  'keen',
  'lucid',
  'mild',
  'north',
  'quiet',
];
const THINGS = ['anchor', 'bay', 'beacon', 'buoy', 'cove', 'dock', 'harbor', 'keel', 'mast', 'pier', 'quay', 'tide'];

/** Generates a name for a container whose user gave none, such as `quiet-harbor-4821`. */
function generateName(): string {
  return `${pick(QUALITIES)}-${pick(THINGS)}-${String(randomInt(1000, 10_000))}`;
}

function pick(words: readonly string[]): string {
  return words[randomInt(words.length)] ?? 'berth';
}

import { Inject, Injectable } from '@nestjs/common';
import { ApiProperty } from '@nestjs/swagger';
import { Counter } from 'prom-client';
import { Amount } from '../../api-fields';
import { type Config, CONFIG } from '../../config';
import { ContainerEngine, type EngineNode } from '../../engine';
import { DomainError } from '../../errors';
import { type Logger, LOGGER } from '../../logging';
import { DEFAULT_POOL } from '../../tiers';
import { Metrics, type Sample, SampledGauge } from '../../metrics';
import { IdleSandboxes, IdleView } from './idle-sandboxes';
import { SickNodes } from './sick-nodes';
import {
  type CapacityBounds,
  NO_NODE,
  noCapacity,
  type NodeBounds,
  ReservedCapacity,
  type Shortage,
} from '../rows/reserved-capacity';
import { MIB } from '../model/container.entity';

class AmountView {
  @Amount('Total of the machine; null if unknown.', { nullable: true, example: 16_384 })
  readonly total: number | null;
  @Amount('Maximum that can be reserved: total × overcommit. Null if unlimited.', { nullable: true, example: 32_768 })
  readonly limit: number | null;
  @Amount('Sum of the limits of running and starting containers.', { example: 4096 })
  readonly reserved: number;
}

class FreeView {
  @Amount('Currently free on the machine; null if it cannot be measured, for example on a remote Docker host.', {
    nullable: true,
    example: 9_000,
  })
  readonly free: number | null;
  @Amount('Total of the machine; null if unknown.', { nullable: true, example: 16_384 })
  readonly total: number | null;
  @Amount('New starts are blocked below this amount.', { example: 256 })
  readonly reserve: number;
}

/** The response of `GET /api/admin/capacity`. */
export class CapacityView {
  @ApiProperty({ type: AmountView, description: 'MiB.' })
  readonly memory_mb: AmountView;
  @ApiProperty({ type: AmountView, description: 'Millicores.' })
  readonly cpu_shares: AmountView;
  @ApiProperty({ type: FreeView, description: 'MiB.' })
  readonly free_memory_mb: FreeView;
  @ApiProperty({ type: FreeView, description: "MiB on the disk that holds Docker's data." })
  readonly free_disk_mb: FreeView;
  @ApiProperty({ type: IdleView, description: 'Unused running containers, and the cost of each.' })
  readonly idle: IdleView;
}

/** In a cluster, the nodes that a container is on or may be placed on. */
export interface PlacementConstraint {
  /** The node with the container's data; null: it has no data yet. */
  readonly node?: string | null;
  /** The node that is taken while it has room: it has the files of a container without data; null: none. */
  readonly preferred?: string | null;
  /** The node pool of the user's tier. */
  readonly pool?: string;
  /** The container already runs on the node, so even a drained or unreachable node is allowed. */
  readonly isRunning?: boolean;
  /** Nodes to leave out. */
  readonly except?: readonly string[];
  /** What is copied into the container's volume; on a single machine there must be room for it. */
  readonly bytes?: number;
}

type CapacitySettings = Pick<Config, 'MEMORY_OVERCOMMIT' | 'CPU_OVERCOMMIT' | 'MEMORY_RESERVE_MB' | 'DISK_RESERVE_MB'>;

/**
 * Limits what may run: the sum of the containers' limits against the machine's size × overcommit and, on a single
 * machine, the free memory and disk against a reserve.
 */
@Injectable()
export class Capacity {
  private readonly refusals: Counter<'resource'>;
  private relief: () => Promise<boolean> = () => Promise.resolve(false);
  /** How often {@link relief} has freed something. */
  private reliefs = 0;

  constructor(
    private readonly engine: ContainerEngine,
    private readonly reserved: ReservedCapacity,
    private readonly sick: SickNodes,
    private readonly idle: IdleSandboxes,
    metrics: Metrics,
    @Inject(CONFIG) private readonly settings: CapacitySettings,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.refusals = new Counter({
      name: 'berth_capacity_refusals_total',
      help: 'Creations, starts and resizes refused for lack of capacity, by missing resource.',
      labelNames: ['resource'],
      registers: [metrics.registry],
    });
    new SampledGauge(metrics, {
      name: 'berth_capacity_memory_bytes',
      help: 'Memory of the machine: limit (total × overcommit), reserved (sum of the container limits), total, free.',
      labelNames: ['kind'],
      sample: async () => {
        const { memory_mb, free_memory_mb } = await this.amounts();
        const { total, limit, reserved } = memory_mb;
        return samples({ total, limit, reserved, free: free_memory_mb.free }, MIB);
      },
      logger,
    });
    new SampledGauge(metrics, {
      name: 'berth_capacity_cpus',
      help: 'CPUs of the machine: limit (total × overcommit), reserved (sum of the container limits), total.',
      labelNames: ['kind'],
      sample: async () => {
        const { total, limit, reserved } = (await this.amounts()).cpu_shares;
        return samples({ total, limit, reserved }, 1 / 1000);
      },
      logger,
    });
    new SampledGauge(metrics, {
      name: 'berth_capacity_disk_bytes',
      help: "Size and free space of the disk with Docker's data; absent if unknown.",
      labelNames: ['kind'],
      sample: async () => {
        const { diskMb: total, freeDiskMb: free } = await engine.host.resources();
        return samples({ total, free }, MIB);
      },
      logger,
    });
  }

  /**
   * Calls `reserve` with the current bounds; counts and logs a refusal.
   *
   * @param reserve the transaction that reserves; it must await nothing else
   * @param where in a cluster, the nodes that the container may be on
   * @throws DomainError `no_capacity`; any other error of `reserve`
   */
  async within<T>(reserve: (bounds: CapacityBounds) => Promise<T>, where: PlacementConstraint = {}): Promise<T> {
    if (this.engine.nodes.list() !== null) return this.withinNodes(reserve, where);
    const { reliefs } = this;
    try {
      return await this.withinMachine(reserve, where);
    } catch (error) {
      if (!(error instanceof DomainError) || error.kind !== 'no_capacity') throw error;
      const { short } = error.options.fields as { short: readonly Shortage[] };
      const isOfMachine = short.every(({ resource }) => resource.startsWith('free_'));
      // What another creation had freed by then was not in these bounds yet.
      if (!isOfMachine || (this.reliefs === reliefs && !(await this.relief()))) {
        this.noteRefusal(error);
        throw error;
      }
    }
    return this.within(reserve, where);
  }

  /**
   * @param relief called if the machine has too little free memory or disk, before a user is refused: frees some.
   *   Resolves with false if it cannot. Never throws
   */
  relieveWith(relief: () => Promise<boolean>): void {
    this.relief = async () => {
      const isFreed = await relief();
      if (isFreed) this.reliefs += 1;
      return isFreed;
    };
  }

  private async withinMachine<T>(
    reserve: (bounds: CapacityBounds) => Promise<T>,
    { bytes = 0 }: PlacementConstraint,
  ): Promise<T> {
    const { memoryMb, cpuShares, freeMemoryMb, freeDiskMb } = await this.engine.host.resources();
    const { MEMORY_OVERCOMMIT, CPU_OVERCOMMIT, MEMORY_RESERVE_MB } = this.settings;
    return reserve({
      memoryMb: times(memoryMb, MEMORY_OVERCOMMIT),
      cpuShares: times(cpuShares, CPU_OVERCOMMIT),
      short: [
        ...tooLittle('free_memory_mb', freeMemoryMb, MEMORY_RESERVE_MB),
        ...this.tooLittleDisk(freeDiskMb, bytes),
      ],
    });
  }

  private async withinNodes<T>(
    reserve: (bounds: CapacityBounds) => Promise<T>,
    { node = null, preferred = null, pool = DEFAULT_POOL, isRunning = false, except = [] }: PlacementConstraint,
  ): Promise<T> {
    try {
      const nodes = this.engine.nodes.list() ?? [];
      const taking = nodes.filter(
        (each) => each.availability === 'active' && each.isReachable && each.problem === null,
      );
      // Swarm takes up to 45 s to see that a machine is back; a container with data on the node need not wait for
      // that.
      const isUp = ({ id, state }: EngineNode): boolean => state !== 'down' || id === preferred;
      const candidates =
        node === null
          ? taking.filter((each) => isUp(each) && each.pool === pool && !except.includes(each.id))
          : (isRunning ? nodes : taking).filter(({ id }) => id === node);
      const bounds = candidates.map((each) => this.boundsOf(each));
      const onAny = async (of: readonly NodeBounds[]): Promise<T> => {
        const [first] = of;
        if (!first) throw noCapacity([NO_NODE]);
        const { memoryMb, cpuShares } = first;
        return reserve({ memoryMb, cpuShares, short: [], nodes: of, preferred, mayBeClosed: isRunning });
      };
      const well = node === null ? bounds.filter(({ id }) => !this.sick.isAvoided(id)) : bounds;
      if (well.length === 0 || well.length === bounds.length) return await onAny(bounds);
      try {
        return await onAny(well);
      } catch (error) {
        if (!(error instanceof DomainError) || error.kind !== 'no_capacity') throw error;
        // A node where creations failed is better than none: it may have recovered.
        return await onAny(bounds);
      }
    } catch (error) {
      if (error instanceof DomainError && error.kind === 'no_capacity') this.noteRefusal(error);
      throw error;
    }
  }

  private tooLittleDisk(freeDiskMb: number | null, bytes: number): ReturnType<typeof tooLittle> {
    return tooLittle('free_disk_mb', freeDiskMb, this.settings.DISK_RESERVE_MB + Math.ceil(bytes / MIB));
  }

  private boundsOf({ id, memoryMb, cpuShares }: EngineNode): NodeBounds {
    const { MEMORY_OVERCOMMIT, CPU_OVERCOMMIT } = this.settings;
    return { id, memoryMb: times(memoryMb, MEMORY_OVERCOMMIT), cpuShares: times(cpuShares, CPU_OVERCOMMIT) };
  }

  /**
   * Refuses what would take space on a disk that has too little. The disks of a cluster's nodes are not known. A copy
   * by reflink counts in full: each later write to the source or to the copy takes space.
   *
   * @param bytes how much
   * @throws DomainError `no_capacity`
   */
  async assertDisk(bytes: number): Promise<void> {
    const { freeDiskMb } = await this.engine.host.resources();
    const short = this.tooLittleDisk(freeDiskMb, bytes);
    if (short.length === 0) return;
    const error = noCapacity(short);
    this.noteRefusal(error);
    throw error;
  }

  /** How much more may be written to the machine's disk, in bytes; Infinity if its free space is not known. */
  async roomOnDisk(): Promise<number> {
    const { freeDiskMb } = await this.engine.host.resources();
    return freeDiskMb === null ? Infinity : Math.max(0, freeDiskMb - this.settings.DISK_RESERVE_MB) * MIB;
  }

  async view(): Promise<CapacityView> {
    const [amounts, idle] = await Promise.all([this.amounts(), this.idle.view()]);
    return { ...amounts, idle };
  }

  private async amounts(): Promise<Omit<CapacityView, 'idle'>> {
    const { memoryMb, cpuShares, freeMemoryMb, diskMb, freeDiskMb } = await this.engine.host.resources();
    const { MEMORY_OVERCOMMIT, CPU_OVERCOMMIT, MEMORY_RESERVE_MB, DISK_RESERVE_MB } = this.settings;
    const sums = await this.reserved.sums();
    const reserved = { memoryMb: 0, cpuShares: 0 };
    for (const sum of sums.values()) {
      reserved.memoryMb += sum.memoryMb;
      reserved.cpuShares += sum.cpuShares;
    }
    return {
      memory_mb: { total: memoryMb, limit: times(memoryMb, MEMORY_OVERCOMMIT), reserved: reserved.memoryMb },
      cpu_shares: { total: cpuShares, limit: times(cpuShares, CPU_OVERCOMMIT), reserved: reserved.cpuShares },
      free_memory_mb: { free: freeMemoryMb, total: memoryMb, reserve: MEMORY_RESERVE_MB },
      free_disk_mb: { free: freeDiskMb, total: diskMb, reserve: DISK_RESERVE_MB },
    };
  }

  /** Corrects the reserved sums, if rows were changed without them. Call it in each sweep. */
  async recount(): Promise<void> {
    if (await this.reserved.recount()) this.logger.warn('what containers reserve did not add up and was counted again');
  }

  private noteRefusal({ options }: DomainError): void {
    const { short } = options.fields as { short: readonly Shortage[] };
    for (const { resource } of short) this.refusals.inc({ resource });
    this.logger.warn({ short }, 'a creation, start or resize was refused: the machine has no room');
  }
}

/** What may be reserved of a total; null: any amount. */
export function times(total: number | null, overcommit: number): number | null {
  return total === null ? null : Math.floor(total * overcommit);
}

function tooLittle(resource: Shortage['resource'], free: number | null, reserve: number): readonly Shortage[] {
  return free === null || free >= reserve ? [] : [{ resource, needed: reserve, available: free }];
}

/** One sample for each known amount, labelled with its name. */
function samples(amounts: Readonly<Record<string, number | null>>, factor: number): readonly Sample[] {
  return Object.entries(amounts).flatMap(([kind, amount]) =>
    amount === null ? [] : [{ labels: { kind }, value: amount * factor }],
  );
}

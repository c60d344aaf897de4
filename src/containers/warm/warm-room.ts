import { Inject, Injectable } from '@nestjs/common';
import { type Config, CONFIG } from '../../config';
import { ContainerEngine, diskUsedAbove } from '../../engine';
import type { WarmSlot } from '../model/warm-slot.entity';
import { ContainerRepository } from '../rows/container.repository';
import { ReservedCapacity } from '../rows/reserved-capacity';
import type { WarmSettings, WarmWant } from './warm-wants';

/** The memory that the pool may use on a machine whose size is not known, in MiB. */
const OF_UNKNOWN_MB = 2_048;

/**
 * What the pool waits for. `creations`: users' creations, starts or updates run, which have Docker to themselves;
 * `capacity`: containers and slots together would reserve more than the machine may promise; `nodes`: no node of the
 * pool takes containers. With the others, the machine has too little of them.
 */
export const WARM_OBSTACLES = ['creations', 'free_memory_mb', 'free_disk_mb', 'capacity', 'nodes'] as const;
type WarmObstacle = (typeof WARM_OBSTACLES)[number];

type Settings = Pick<
  Config,
  | 'MEMORY_OVERCOMMIT'
  | 'CPU_OVERCOMMIT'
  | 'MEMORY_RESERVE_MB'
  | 'DISK_RESERVE_MB'
  | 'IMAGE_DISK_WATERMARK'
  | 'WARM_POOL_MEMORY_MB'
>;

/**
 * Where there is room for slots. Slots are not part of the reserved sums, so no user is ever refused for them: they use
 * what is left, and are given up as soon as users need it.
 */
@Injectable()
export class WarmRoom {
  constructor(
    private readonly engine: ContainerEngine,
    private readonly reserved: ReservedCapacity,
    private readonly repository: ContainerRepository,
    @Inject(CONFIG) private readonly settings: Settings,
  ) {}

  /** How much memory all slots together may have, in MiB: `WARM_POOL_MEMORY_MB`, or an eighth of the machine's. */
  async memoryMb(): Promise<number> {
    const { memoryMb } = await this.engine.host.resources();
    return this.settings.WARM_POOL_MEMORY_MB ?? (memoryMb === null ? OF_UNKNOWN_MB : Math.floor(memoryMb / 8));
  }

  /** The nodes on which a slot may be (null: the single machine): not drained, and answering. */
  nodesFor({ settings: { pool }, nodes }: Pick<WarmWant, 'settings' | 'nodes'>): readonly (string | null)[] {
    const all = this.engine.nodes.list();
    if (all === null) return [null];
    return all
      .filter((node) => node.availability === 'active' && node.isReachable && node.problem === null)
      .filter((node) => node.pool === pool && (nodes === null || nodes.includes(node.name) || nodes.includes(node.id)))
      .map(({ id }) => id);
  }

  /** Whether the node is believed reachable. */
  answers(node: string | null): boolean {
    return this.engine.nodes.answers(node);
  }

  /** Why nothing is to be made now, wherever; null: nothing stands in the way. */
  async obstacle(): Promise<WarmObstacle | null> {
    if (await this.repository.isUserWaiting()) return 'creations';
    const resources = await this.engine.host.resources();
    const { freeDiskMb } = resources;
    const isFull = freeDiskMb !== null && freeDiskMb < this.settings.DISK_RESERVE_MB;
    return isFull || diskUsedAbove(resources, this.settings.IMAGE_DISK_WATERMARK) !== null ? 'free_disk_mb' : null;
  }

  /** The node with room for one more slot that has the fewest slots; or why there is none. */
  async nodeWithRoom(want: WarmWant, slots: readonly WarmSlot[]): Promise<{ node: string | null } | WarmObstacle> {
    const { memoryMb, cpuShares } = want.settings;
    const { freeMemoryMb } = await this.engine.host.resources();
    if (freeMemoryMb !== null && freeMemoryMb - memoryMb < this.settings.MEMORY_RESERVE_MB) return 'free_memory_mb';
    const nodes = this.nodesFor(want);
    if (nodes.length === 0) return 'nodes';
    const countOn = (node: string | null): number => slots.filter(({ nodeId }) => nodeId === node).length;
    for (const node of [...nodes].sort((one, other) => countOn(one) - countOn(other))) {
      if (!(await this.isOver(node, slots, { memoryMb, cpuShares }))) return { node };
    }
    return 'capacity';
  }

  /** Whether the containers and slots of a node reserve more than it may promise. @param more in addition */
  async isOver(
    node: string | null,
    slots: readonly WarmSlot[],
    more: Pick<WarmSettings, 'memoryMb' | 'cpuShares'> = { memoryMb: 0, cpuShares: 0 },
  ): Promise<boolean> {
    const has = node === null ? await this.engine.host.resources() : this.engine.nodes.list()?.find(isNode(node));
    const sums = await this.reserved.sums();
    const sum = sums.get(node ?? 'local');
    const there = [...slots.filter(({ nodeId }) => nodeId === node), more];
    const total = (of: 'memoryMb' | 'cpuShares'): number => there.reduce((all, each) => all + each[of], sum?.[of] ?? 0);
    const { MEMORY_OVERCOMMIT, CPU_OVERCOMMIT } = this.settings;
    return (
      total('memoryMb') > (has?.memoryMb ?? Infinity) * MEMORY_OVERCOMMIT ||
      total('cpuShares') > (has?.cpuShares ?? Infinity) * CPU_OVERCOMMIT
    );
  }
}

function isNode(node: string) {
  return ({ id }: { readonly id: string }): boolean => id === node;
}

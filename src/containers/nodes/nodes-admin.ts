import { Inject, Injectable } from '@nestjs/common';
import { ApiProperty } from '@nestjs/swagger';
import { type Config, CONFIG } from '../../config';
import { ContainerEngine, EngineError } from '../../engine';
import { DomainError } from '../../errors';
import { Clock } from '../../scheduling';
import { ReservedCapacity } from '../rows/reserved-capacity';
import { isSilent, type NodeRow } from '../model/node.entity';
import { NodeRepository } from './node.repository';
import { NodeWatch } from './node-watch';
import { isAvoided, SickNodes } from '../capacity/sick-nodes';
import { times } from '../capacity/capacity';

/** The maximum number of containers listed as not moved. */
const MOST_NOT_MOVED = 100;

class NodeAmountsView {
  @ApiProperty({ type: Number, nullable: true, minimum: 0, example: 16_384, description: 'MiB; null: not known.' })
  readonly memory_mb: number | null;
  @ApiProperty({ type: Number, nullable: true, minimum: 0, example: 8000, description: 'Millicores; null: not known.' })
  readonly cpu_shares: number | null;
}

class NotMovedView {
  @ApiProperty({ format: 'uuid', description: "The container's." })
  readonly db_id: string;
  @ApiProperty({ example: 'no_capacity', description: "The last attempt's error." })
  readonly code: string;
}

/** The progress of emptying a drained node. */
class EvacuationView {
  @ApiProperty({ format: 'date-time' })
  readonly since: string;
  @ApiProperty({ minimum: 0, example: 12, description: 'Containers that are still there.' })
  readonly left: number;
  @ApiProperty({
    type: [NotMovedView],
    description: 'Those that could not be moved so far, at most 100: each is tried again every half minute.',
  })
  readonly not_moved: readonly NotMovedView[];
  @ApiProperty({ minimum: 0, example: 1, description: 'Deleted ones with data there, which is not moved.' })
  readonly deleted: number;
  @ApiProperty({ minimum: 0, example: 3, description: 'Snapshots there, which are not moved.' })
  readonly snapshots: number;
}

/** Why and until when a node is avoided because creations failed there. */
class AvoidedNodeView {
  @ApiProperty({ example: 'no_space', description: '`no_space`: its disk is full; otherwise the code of the error.' })
  readonly reason: string;
  @ApiProperty({ format: 'date-time', description: 'Twice as long each time that it fails again, an hour at most.' })
  readonly until: string;
}

/** One node of a cluster. */
export class NodeView {
  @ApiProperty({ example: 'qx1k0z5u6gm9t4v2w8y7r3s1d', description: "Swarm's own." })
  readonly id: string;
  @ApiProperty({ example: 'node-3', description: 'As the machine calls itself.' })
  readonly name: string;
  @ApiProperty({
    enum: ['reachable', 'unreachable', 'forgotten'],
    example: 'reachable',
    description: 'Whether its Docker answers; forgotten: it was given up.',
  })
  readonly state: 'reachable' | 'unreachable' | 'forgotten';
  @ApiProperty({ enum: ['ready', 'down', 'unknown'], description: 'What Swarm says of it.' })
  readonly swarm_state: 'ready' | 'down' | 'unknown';
  @ApiProperty({
    enum: ['active', 'pause', 'drain'],
    description: 'Unless it is active nothing is placed or started there; what runs goes on.',
  })
  readonly availability: 'active' | 'pause' | 'drain';
  @ApiProperty({ example: 'default', description: 'Tiers name pools.' })
  readonly pool: string;
  @ApiProperty({ type: 'object', additionalProperties: { type: 'string' }, example: { 'berth.pool': 'default' } })
  readonly labels: Readonly<Record<string, string>>;
  @ApiProperty({ example: 'tcp://10.0.0.13:2376', description: "Its Docker's." })
  readonly address: string;
  @ApiProperty({ example: false })
  readonly is_manager: boolean;
  @ApiProperty({
    type: String,
    nullable: true,
    example: null,
    description: 'Why no container can be placed there although it may answer, in a sentence; null: nothing is wrong.',
  })
  readonly problem: string | null;
  @ApiProperty({
    type: AvoidedNodeView,
    nullable: true,
    example: null,
    description:
      'Creations failed there that succeeded elsewhere: something new is placed there only where no other machine has ' +
      'room. A creation that succeeds there ends it, and so does its activation. null: it is not avoided.',
  })
  readonly avoided: AvoidedNodeView | null;
  @ApiProperty({ type: String, format: 'date-time', nullable: true, description: 'When it last answered.' })
  readonly reachable_at: string | null;
  @ApiProperty({ type: NodeAmountsView, description: 'What it has, before any overcommit.' })
  readonly capacity: NodeAmountsView;
  @ApiProperty({
    type: NodeAmountsView,
    description: 'How much may be reserved there together: the capacity × the overcommit.',
  })
  readonly limit: NodeAmountsView;
  @ApiProperty({ type: NodeAmountsView, description: 'The limits of what runs there or is being started, together.' })
  readonly used: NodeAmountsView;
  @ApiProperty({ minimum: 0, example: 12, description: 'Containers on it, running or not.' })
  readonly containers: number;
  @ApiProperty({
    type: 'integer',
    minimum: 0,
    example: 3,
    description: 'Those that run and were not used for ten minutes.',
  })
  readonly idle_containers: number;
  @ApiProperty({
    type: EvacuationView,
    nullable: true,
    description: 'How far what was on it is moved, where it was drained with `move`; null: what is on it stays.',
  })
  readonly evacuation: EvacuationView | null;
}

/** The response of `GET /api/admin/nodes`. */
export class NodeListView {
  @ApiProperty({ type: [NodeView], description: 'By name; none where there is one machine.' })
  readonly nodes: NodeView[];
}

/** Administrators' view of a cluster's nodes, and their actions on them. */
@Injectable()
export class NodesAdmin {
  constructor(
    private readonly engine: ContainerEngine,
    private readonly nodes: NodeRepository,
    private readonly reserved: ReservedCapacity,
    private readonly watch: NodeWatch,
    private readonly sick: SickNodes,
    private readonly clock: Clock,
    @Inject(CONFIG) private readonly config: Pick<Config, 'MEMORY_OVERCOMMIT' | 'CPU_OVERCOMMIT'>,
  ) {}

  async list(): Promise<NodeListView> {
    const [rows, used, counts] = await Promise.all([
      this.nodes.all(),
      this.reserved.sums(),
      this.nodes.countContainers(),
    ]);
    const now = this.clock.now();
    const nodes: NodeView[] = [];
    for (const row of rows) {
      const { memoryMb, cpuShares } = used.get(row.id) ?? { memoryMb: 0, cpuShares: 0 };
      const amounts = { memory_mb: memoryMb, cpu_shares: cpuShares };
      const { live: containers, idle } = counts.get(row.id) ?? { live: 0, idle: 0 };
      const evacuation = await this.evacuation(row, containers);
      const limit = this.limitOf(row);
      nodes.push(nodeView(row, { now, limit, used: amounts, containers, idle_containers: idle, evacuation }));
    }
    return { nodes };
  }

  /**
   * @param options.move whether to move the node's containers to other nodes, in the background
   * @throws DomainError `node_not_found`, `not_ready` if no Swarm manager answers
   */
  async setAvailability(
    name: string,
    availability: 'active' | 'drain',
    { move = false }: { move?: boolean | undefined } = {},
  ): Promise<NodeView> {
    const { id } = await this.find(name);
    try {
      await this.engine.nodes.setAvailability(id, availability);
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      if (error.code === 'docker_error') throw new DomainError('node_not_found', { cause: error });
      throw new DomainError('not_ready', { code: 'docker_unavailable', cause: error });
    }
    await this.nodes.setEmptied(id, move ? this.clock.now() : null);
    if (availability === 'active') await this.sick.noteWell(id);
    await this.watch.look();
    return this.viewOf(id);
  }

  /**
   * Gives up a node that is gone for good: its containers become `error`, and their data counts as lost.
   *
   * @throws DomainError `node_not_found`, `node_reachable`
   */
  async forget(name: string): Promise<NodeView> {
    const row = await this.find(name);
    if (row.forgottenAt === null) {
      if (this.engine.nodes.answers(row.id) || !isSilent(row, this.clock.now()))
        throw new DomainError('node_reachable');
      await this.nodes.forget(row);
    }
    // Any process completes what this call does not.
    await this.watch.look();
    return this.viewOf(row.id);
  }

  /** Whether a node was given up, and has not come back since. */
  async isGivenUp(id: string): Promise<boolean> {
    const row = await this.nodes.find(id);
    return row?.id === id && row.forgottenAt !== null;
  }

  private async find(name: string): Promise<NodeRow> {
    const row = await this.nodes.find(name);
    if (!row) throw new DomainError('node_not_found');
    return row;
  }

  private limitOf({ memoryMb, cpuShares }: NodeRow): NodeAmountsView {
    const { MEMORY_OVERCOMMIT, CPU_OVERCOMMIT } = this.config;
    return { memory_mb: times(memoryMb, MEMORY_OVERCOMMIT), cpu_shares: times(cpuShares, CPU_OVERCOMMIT) };
  }

  private async evacuation({ id, emptiedSince }: NodeRow, left: number): Promise<EvacuationView | null> {
    if (emptiedSince === null) return null;
    const notMoved = await this.nodes.notMoved(id, MOST_NOT_MOVED);
    return {
      since: emptiedSince.toISOString(),
      left,
      not_moved: notMoved.map((row) => ({ db_id: row.id, code: row.notMovedBecause ?? '' })),
      deleted: await this.nodes.countKept(id),
      snapshots: await this.nodes.countSnapshots(id),
    };
  }

  private async viewOf(id: string): Promise<NodeView> {
    const view = (await this.list()).nodes.find((node) => node.id === id);
    if (!view) throw new DomainError('node_not_found');
    return view;
  }
}

function nodeView(
  row: NodeRow,
  {
    now,
    ...measured
  }: {
    now: Date;
    limit: NodeAmountsView;
    used: NodeAmountsView;
    containers: number;
    idle_containers: number;
    evacuation: EvacuationView | null;
  },
): NodeView {
  return {
    id: row.id,
    name: row.name,
    state: row.forgottenAt !== null ? 'forgotten' : isSilent(row, now) ? 'unreachable' : 'reachable',
    swarm_state: row.state,
    availability: row.availability,
    pool: row.pool,
    labels: row.labels,
    address: row.address,
    is_manager: row.isManager,
    problem: row.problem,
    avoided: isAvoided(row, now) ? { reason: row.avoidedBecause ?? '', until: row.avoidedUntil.toISOString() } : null,
    reachable_at: row.reachableAt?.toISOString() ?? null,
    capacity: { memory_mb: row.memoryMb, cpu_shares: row.cpuShares },
    ...measured,
  };
}

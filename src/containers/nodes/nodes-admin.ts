import { Inject, Injectable } from '@nestjs/common';
import { ApiProperty } from '@nestjs/swagger';
import { Amount, Choice, Count, Flag, Text, Timestamp, Uuid } from '../../api-fields';
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
  @Amount('MiB; null if unknown.', { nullable: true, example: 16_384 })
  readonly memory_mb: number | null;
  @Amount('Millicores; null if unknown.', { nullable: true, example: 8000 })
  readonly cpu_shares: number | null;
}

class NotMovedView {
  @Uuid('Database id of the container.') readonly db_id: string;
  @Text('Error code of the last attempt.', { example: 'no_capacity' })
  readonly code: string;
}

/** The progress of emptying a drained node. */
class EvacuationView {
  @Timestamp() readonly since: string;
  @Amount('Containers still on the node.', { example: 12 })
  readonly left: number;
  @ApiProperty({
    type: [NotMovedView],
    description: 'Containers that could not be moved so far, at most 100. Each is retried every 30 s.',
  })
  readonly not_moved: readonly NotMovedView[];
  @Amount('Deleted containers whose data is on the node; it is not moved.', { example: 1 })
  readonly deleted: number;
  @Amount('Snapshots on the node; they are not moved.', { example: 3 })
  readonly snapshots: number;
}

/** Why and until when a node is avoided because creations failed there. */
class AvoidedNodeView {
  @Text('`no_space` if the disk is full; otherwise the error code.', { example: 'no_space' })
  readonly reason: string;
  @Timestamp('Doubled with each further failure, up to one hour.')
  readonly until: string;
}

/** One node of a cluster. */
export class NodeView {
  @Text('Swarm node id.', { example: 'qx1k0z5u6gm9t4v2w8y7r3s1d' })
  readonly id: string;
  @Text('Host name of the node.', { example: 'node-3' }) readonly name: string;
  @Choice(
    ['reachable', 'unreachable', 'forgotten'],
    "Whether the node's Docker is reachable; `forgotten` if the node was given up.",
    { example: 'reachable' },
  )
  readonly state: 'reachable' | 'unreachable' | 'forgotten';
  @Choice(['ready', 'down', 'unknown'], 'Node state reported by Swarm.')
  readonly swarm_state: 'ready' | 'down' | 'unknown';
  @Choice(
    ['active', 'pause', 'drain'],
    'Containers are placed and started only on active nodes. Running containers keep running on others.',
  )
  readonly availability: 'active' | 'pause' | 'drain';
  @Text('Node pool, which tiers refer to.', { example: 'default' })
  readonly pool: string;
  @ApiProperty({ type: 'object', additionalProperties: { type: 'string' }, example: { 'berth.pool': 'default' } })
  readonly labels: Readonly<Record<string, string>>;
  @Text("Address of the node's Docker.", { example: 'tcp://10.0.0.13:2376' })
  readonly address: string;
  @Flag({ example: false }) readonly is_manager: boolean;
  @Text('Why no container can be placed on the node, even if it is reachable; null if there is no problem.', {
    nullable: true,
    example: null,
  })
  readonly problem: string | null;
  @ApiProperty({
    type: AvoidedNodeView,
    nullable: true,
    example: null,
    description:
      'Present if creations failed on this node and succeeded elsewhere. New containers are then placed here only ' +
      'if no other node has room, until a creation succeeds or the node is activated. Null if not avoided.',
  })
  readonly avoided: AvoidedNodeView | null;
  @Timestamp('When the node last responded.', { nullable: true })
  readonly reachable_at: string | null;
  @ApiProperty({ type: NodeAmountsView, description: 'Capacity before overcommit.' })
  readonly capacity: NodeAmountsView;
  @ApiProperty({ type: NodeAmountsView, description: 'Maximum that can be reserved: capacity × overcommit.' })
  readonly limit: NodeAmountsView;
  @ApiProperty({ type: NodeAmountsView, description: 'Sum of the limits of running and starting containers.' })
  readonly used: NodeAmountsView;
  @Amount('Containers on the node, running or not.', { example: 12 })
  readonly containers: number;
  @Count('Running containers that have not been used for 10 minutes.', { example: 3 })
  readonly idle_containers: number;
  @ApiProperty({
    type: EvacuationView,
    nullable: true,
    description: 'Progress of moving containers off a node drained with `move`; null if they stay.',
  })
  readonly evacuation: EvacuationView | null;
}

/** The response of `GET /api/admin/nodes`. */
export class NodeListView {
  @ApiProperty({ type: [NodeView], description: 'Sorted by name; empty if there is no cluster.' })
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

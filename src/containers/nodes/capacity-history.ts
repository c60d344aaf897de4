import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import { ApiProperty } from '@nestjs/swagger';
import { cpus } from 'node:os';
import { Amount, Count, Timestamp } from '../../api-fields';
import { Database } from '../../database';
import { ContainerEngine } from '../../engine';
import { DomainError } from '../../errors';
import { type Logger, LOGGER } from '../../logging';
import { Clock, Poll, Ring } from '../../scheduling';
import { ContainerEntity } from '../model/container.entity';
import { NodeRepository } from './node.repository';
import { ReservedCapacity } from '../rows/reserved-capacity';

const EVERY_SECONDS = 300;
/** A day. */
const KEPT = (24 * 3600) / EVERY_SECONDS;

const UNKNOWN = { type: Number, nullable: true, minimum: 0 } as const;

/** What was known of a machine at one moment. */
class CapacitySampleView {
  @Timestamp() readonly at: string;
  @Amount('MiB: sum of the limits of running containers.', { example: 4096 })
  readonly memory_reserved_mb: number;
  @ApiProperty({
    ...UNKNOWN,
    example: 9000,
    description: 'MiB used by all programs on the machine; null if unknown, as for cluster nodes.',
  })
  readonly memory_used_mb: number | null;
  @Amount('Millicores: sum of the limits of running containers.', { example: 2000 })
  readonly cpu_reserved_shares: number;
  @ApiProperty({
    ...UNKNOWN,
    example: 1250,
    description: 'Millicores used by all programs on the machine since the previous sample; null if unknown.',
  })
  readonly cpu_used_shares: number | null;
  @Count('Number of running containers.', { example: 12 })
  readonly running: number;
}

/** The response of `GET /api/admin/capacity/history` and `GET /api/admin/nodes/:name/history`. */
export class CapacityHistoryView {
  @Count('Approximate interval between two samples.', { minimum: 1, example: EVERY_SECONDS })
  readonly interval_seconds: number;
  @ApiProperty({ type: [CapacitySampleView], description: 'Oldest first; at most 288, which is one day.' })
  readonly samples: readonly CapacitySampleView[];
}

/** The kernel's counters of all CPUs, in milliseconds. */
interface CpuTimes {
  readonly busy: number;
  readonly all: number;
}

function cpuTimes(): CpuTimes {
  let idle = 0;
  let all = 0;
  for (const { times } of cpus()) {
    idle += times.idle;
    all += times.user + times.nice + times.sys + times.idle + times.irq;
  }
  return { busy: all - idle, all };
}

/** The key of the single machine, or of all nodes together; no node has an empty id. */
const ALL = '';

/**
 * How full the machine, or each node of a cluster, was in the last day: a sample in five minutes, in this process's
 * memory. Each process of a cluster samples for itself. A sample costs two small queries and what the kernel says.
 */
@Injectable()
export class CapacityHistory implements OnModuleDestroy {
  private readonly rings = new Map<string, Ring<CapacitySampleView>>();
  private readonly poll: Poll;
  private cpuBefore: CpuTimes | null = null;

  constructor(
    private readonly engine: ContainerEngine,
    private readonly reserved: ReservedCapacity,
    private readonly nodes: NodeRepository,
    private readonly database: Database,
    private readonly clock: Clock,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.poll = new Poll({
      everyMs: EVERY_SECONDS * 1000,
      work: () => this.sample(),
      onFault: (error) => this.noteFault(error),
    });
  }

  /** Call it when Docker is prepared. */
  start(): void {
    // At once as well: the first chart after a restart has a value.
    void this.sample().catch((error: unknown) => this.noteFault(error));
    this.poll.start();
  }

  onModuleDestroy(): void {
    this.poll.stop();
  }

  /** Of the machine, or of all nodes of a cluster together. */
  view(): CapacityHistoryView {
    return this.viewOf(ALL);
  }

  /** @param name the node's name or id @throws DomainError `node_not_found` */
  async viewNode(name: string): Promise<CapacityHistoryView> {
    const node = await this.nodes.find(name);
    if (!node) throw new DomainError('node_not_found');
    return this.viewOf(node.id);
  }

  /** @throws the database's error */
  async sample(): Promise<void> {
    const [{ memoryMb, cpuShares, freeMemoryMb }, sums, running] = await Promise.all([
      this.engine.host.resources(),
      this.reserved.sums(),
      this.running(),
    ]);
    const at = this.clock.now().toISOString();
    const isKnown = memoryMb !== null && freeMemoryMb !== null;
    const busy = this.busyShare();
    this.push(ALL, {
      at,
      memory_reserved_mb: total([...sums.values()].map((sum) => sum.memoryMb)),
      memory_used_mb: isKnown ? Math.max(0, memoryMb - freeMemoryMb) : null,
      cpu_reserved_shares: total([...sums.values()].map((sum) => sum.cpuShares)),
      // The free memory is known only if Docker runs on this machine, and then the kernel's CPU times are Docker's too.
      cpu_used_shares: isKnown && cpuShares !== null && busy !== null ? Math.round(cpuShares * busy) : null,
      running: total([...running.values()]),
    });
    for (const { id } of this.engine.nodes.list() ?? []) {
      this.push(id, {
        at,
        memory_reserved_mb: sums.get(id)?.memoryMb ?? 0,
        memory_used_mb: null,
        cpu_reserved_shares: sums.get(id)?.cpuShares ?? 0,
        cpu_used_shares: null,
        running: running.get(id) ?? 0,
      });
    }
    this.forgetOld();
  }

  private viewOf(key: string): CapacityHistoryView {
    return { interval_seconds: EVERY_SECONDS, samples: this.rings.get(key)?.toArray() ?? [] };
  }

  private push(key: string, sample: CapacitySampleView): void {
    const ring = this.rings.get(key) ?? new Ring<CapacitySampleView>(KEPT);
    this.rings.set(key, ring);
    ring.push(sample);
  }

  /** Forgets nodes that have left the cluster. */
  private forgetOld(): void {
    const over = this.clock.now().getTime() - KEPT * EVERY_SECONDS * 1000;
    for (const [key, { last }] of this.rings) if (last && Date.parse(last.at) < over) this.rings.delete(key);
  }

  /** How busy all CPUs were since the call before, 0 to 1; null at the first call. */
  private busyShare(): number | null {
    const [before, now] = [this.cpuBefore, cpuTimes()];
    this.cpuBefore = now;
    return before && now.all > before.all ? (now.busy - before.busy) / (now.all - before.all) : null;
  }

  /** How many containers run, by node; on a single machine under {@link ALL}. */
  private async running(): Promise<ReadonlyMap<string, number>> {
    const rows = await this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .select('c.node_id', 'node')
      .addSelect('COUNT(*)', 'count')
      .where("c.deletedAt IS NULL AND c.status = 'running'")
      .groupBy('c.node_id')
      .getRawMany<{ node: string | null; count: string | number }>();
    return new Map(rows.map(({ node, count }) => [node ?? ALL, Number(count)]));
  }

  private noteFault(error: unknown): void {
    this.logger.warn({ err: error }, 'how full the machine is could not be sampled');
  }
}

function total(amounts: readonly number[]): number {
  return amounts.reduce((sum, amount) => sum + amount, 0);
}

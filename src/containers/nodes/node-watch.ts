import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import { Mutex } from 'async-mutex';
import type { Logger } from 'pino';
import { ContainerEngine, type EngineNode } from '../../engine';
import { LOGGER } from '../../logging';
import { Clock, Poll } from '../../scheduling';
import type { ContainerRow } from '../model/container.entity';
import { ContainerRepository } from '../rows/container.repository';
import { DeletedContainers } from '../rows/deleted-containers';
import { isSilent, type NodeRow } from '../model/node.entity';
import { NodeRepository } from './node.repository';
import { SickNodes } from '../capacity/sick-nodes';

const EVERY_MS = 2_000;

/** Rows per query. */
const PAGE = 200;

/**
 * Records the state of a cluster's nodes; notifies administrators when a node stops answering, or answers again, and
 * the users with containers on it; and gives up the containers on nodes that were given up. Every process does so:
 * each write is conditional, so only the first process to write it succeeds. Does nothing on a single machine.
 */
@Injectable()
export class NodeWatch implements OnModuleDestroy {
  private readonly poll: Poll;
  private readonly noting = new Mutex();
  private onReadmitted: (node: string) => void = () => undefined;

  constructor(
    private readonly engine: ContainerEngine,
    private readonly nodes: NodeRepository,
    private readonly containers: ContainerRepository,
    private readonly deleted: DeletedContainers,
    private readonly sick: SickNodes,
    private readonly clock: Clock,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.poll = new Poll({
      everyMs: EVERY_MS,
      work: () => this.look(),
      onFault: (error) => this.logger.warn({ err: error }, 'what is known of the nodes could not be noted'),
    });
  }

  /**
   * Gives the engine the nodes that earlier processes recorded, in case no manager answers. Call it before the engine
   * is prepared.
   *
   * @param store the id of the Swarm; null: unknown
   */
  async remember(store: string | null): Promise<void> {
    if (store === null || this.engine.nodes.list() === null) return;
    const rows = await this.nodes.all();
    this.nodes.remember(rows);
    const known = rows.filter(({ forgottenAt }) => forgottenAt === null);
    this.engine.nodes.remember(
      store,
      known.map((node) => ({ ...node, isReachable: false })),
    );
  }

  /**
   * Call once the engine is prepared.
   *
   * @param onReadmitted called with a node that was given up and is back, once its rows are given back
   */
  async start(onReadmitted: (node: string) => void): Promise<void> {
    if (this.engine.nodes.list() === null) return;
    this.onReadmitted = onReadmitted;
    await this.look();
    this.poll.start();
  }

  onModuleDestroy(): void {
    this.poll.stop();
  }

  /** @throws the database's error */
  async look(): Promise<void> {
    const present = await this.note();
    if (present === null) return;
    const rows = await this.nodes.all();
    this.sick.follow(rows);
    const now = this.clock.now();
    const gone = rows.filter(({ forgottenAt }) => forgottenAt !== null);
    if (gone.length > 0) await this.giveUp();
    const readmitted: string[] = [];
    for (const row of gone) {
      const { id, name } = row;
      if (!present.some((node) => node.id === id && node.isReachable)) continue;
      if (!(await this.nodes.readmit(row))) continue;
      readmitted.push(id);
      this.logger.warn(
        { node: name },
        'a node that was given up is back; what nothing has replaced there is given back, the rest removed',
      );
    }
    await this.giveBack();
    for (const id of readmitted) this.onReadmitted(id);
    const kept = rows.filter(({ forgottenAt }) => forgottenAt === null);
    const silent = (node: NodeRow): boolean => isSilent(node, now);
    for (const node of kept) {
      // A node that never answered emits no `node_unreachable`.
      const isLost = silent(node) && node.reachableAt !== null;
      if (isLost !== (node.silentSince !== null)) await this.nodes.noteSilence(node, { isSilent: isLost });
    }
    await this.tell(kept.filter(silent), { isUnreachable: true });
    await this.tell(
      kept.filter((node) => !silent(node)),
      { isUnreachable: false },
    );
  }

  /** Serialized, so that a write never compares an older node list with the version that this process recorded last. */
  private note(): Promise<readonly EngineNode[] | null> {
    return this.noting.runExclusive(async () => {
      const present = this.engine.nodes.list();
      if (present !== null) await this.nodes.note(present);
      return present;
    });
  }

  private async tell(nodes: readonly NodeRow[], { isUnreachable }: { isUnreachable: boolean }): Promise<void> {
    const ids = nodes.map(({ id }) => id);
    const since = isUnreachable ? this.clock.now() : null;
    for (;;) {
      const rows = await this.nodes.untold(ids, isUnreachable, PAGE);
      for (const row of rows) await this.containers.noteReachability(row, since);
      if (rows.length < PAGE) return;
    }
  }

  /**
   * Gives up the containers on nodes that were given up, including the data of deleted ones. Other processes do the
   * same concurrently, and an operation may still write: rows that were written since they were read are read again.
   */
  private async giveUp(): Promise<void> {
    const whole = (): Promise<ContainerRow[]> => this.nodes.onGivenUp(PAGE);
    for (let rows = await whole(); rows.length > 0; rows = await whole()) {
      for (const row of rows) await (row.deletedAt === null ? this.containers : this.deleted).giveUp(row);
    }
    const partly = (): Promise<ContainerRow[]> => this.nodes.partlyOnGivenUp(PAGE);
    for (let rows = await partly(); rows.length > 0; rows = await partly()) {
      for (const row of rows) await (row.deletedAt === null ? this.containers : this.deleted).forgetOther(row);
    }
  }

  /** Containers that an operation leases, or that were written since they were read, are handled in the next round. */
  private async giveBack(): Promise<void> {
    for (const row of await this.nodes.backWith(PAGE)) {
      await (row.deletedAt === null ? this.containers : this.deleted).giveBack(row);
    }
  }
}

import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import type { Logger } from 'pino';
import { AuditLog } from '../../audit';
import { ContainerEngine, nodeName } from '../../engine';
import { DomainError } from '../../errors';
import { LOGGER } from '../../logging';
import { Clock, Poll } from '../../scheduling';
import type { ContainerRow } from '../model/container.entity';
import { ContainerRepository } from '../rows/container.repository';
import { moving } from '../operations/move';
import { isBenignConflict, OperationRunner } from '../operations/operation-runner';
import { NodeRepository } from '../nodes/node.repository';

const EVERY_MS = 2_000;
/** The delay before a failed move is retried. */
const RETRY_MS = 30_000;
/** Maximum concurrent moves, to spare the machines: a copy uses all bandwidth that the network has. */
const CONCURRENCY = 2;
/** How long a request to empty a node is kept while the node's row is not `drain`: the row may lag behind Swarm. */
const TOLD_MS = 60_000;

/**
 * Empties drained nodes at an administrator's request: moves their containers, a few at a time, as long as the nodes
 * are drained. One process at a time does so, for all nodes. The request is in the node's row, so any process continues
 * the work.
 */
@Injectable()
export class Evacuation implements OnModuleDestroy {
  private readonly poll: Poll;
  /** When this process retries each container that it could not move: container id → time in milliseconds. */
  private readonly nextTry = new Map<string, number>();
  private readonly stopped = new AbortController();

  constructor(
    private readonly engine: ContainerEngine,
    private readonly nodes: NodeRepository,
    private readonly repository: ContainerRepository,
    private readonly operations: OperationRunner,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.poll = new Poll({
      everyMs: EVERY_MS,
      work: () => this.look(),
      onFault: (error) => this.logger.warn({ err: error }, 'a drained node could not be emptied; it is tried again'),
    });
  }

  /** Call once Docker is prepared. */
  start(): void {
    if (this.engine.nodes.list() !== null) this.poll.start();
  }

  onModuleDestroy(): void {
    this.stopped.abort();
    this.poll.stop();
  }

  /** Moves the containers that can be moved now. @throws the database's error */
  async look(): Promise<void> {
    this.forgetDue();
    const emptied = await this.nodes.emptied();
    // Another process may reach what this one does not.
    if (!emptied.some(({ id }) => this.engine.nodes.answers(id))) return this.nodes.emptying.resign();
    if (!(await this.nodes.emptying.take())) return;
    for (const { id, availability, emptiedSince } of emptied) {
      if (availability === 'drain') await this.empty(id);
      else if (this.clock.now().getTime() - emptiedSince.getTime() > TOLD_MS) await this.nodes.setEmptied(id, null);
    }
  }

  /** Removes the entries that are due: their containers may have been moved by another process, or deleted. */
  private forgetDue(): void {
    const now = performance.now();
    for (const [id, at] of this.nextTry) if (at <= now) this.nextTry.delete(id);
  }

  private async empty(node: string): Promise<void> {
    const waiting = (await this.nodes.idleOn(node)).filter((id) => !this.nextTry.has(id));
    const next = async (): Promise<void> => {
      for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
        if (this.stopped.signal.aborted || !this.engine.nodes.answers(node) || !(await this.isWanted(node))) return;
        await this.move(id, node);
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, next));
  }

  private async isWanted(node: string): Promise<boolean> {
    if (!(await this.nodes.emptying.isHeld())) return false;
    return (await this.nodes.emptied()).some(({ id, availability }) => id === node && availability === 'drain');
  }

  /** Never throws except the database's error. */
  private async move(id: string, node: string): Promise<void> {
    const row = await this.repository.findById(id);
    if (row?.nodeId !== node || row.operation !== null) return;
    try {
      await this.operations.run(row, moving({}, { waitMs: 0 }));
      this.nextTry.delete(id);
      await this.record(row, 'ok');
      this.logger.info({ container_id: id, node: this.nameOf(node) }, 'moved from a drained node');
    } catch (error) {
      if (isBenignConflict(error)) return;
      this.nextTry.set(id, performance.now() + RETRY_MS);
      const code = error instanceof DomainError ? error.code : 'internal_error';
      await this.nodes.noteNotMoved(id, code);
      // An unchanged error code is not audited again.
      if (row.notMovedBecause !== code) await this.record(row, code);
      const about = { err: error, container_id: id, node: this.nameOf(node) };
      this.logger.warn(about, 'could not be moved from a drained node yet');
    }
  }

  private nameOf(node: string): string | null {
    return nodeName(this.engine.nodes, node);
  }

  private async record({ id, userId }: ContainerRow, outcome: string): Promise<void> {
    await this.audit.recordSystem({ action: 'container.move', subjectUserId: userId, containerId: id, outcome });
  }
}

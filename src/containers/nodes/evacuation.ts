import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import type { Logger } from 'pino';
import { AuditLog } from '../../audit';
import { ContainerEngine } from '../../docker';
import { DomainError } from '../../errors';
import { LOGGER } from '../../logging';
import { Clock, Poll } from '../../scheduling';
import type { ContainerRow } from '../container.entity';
import { ContainerRepository } from '../container.repository';
import { isBenignConflict } from '../operations/operation-runner';
import { ContainerOperations } from '../operations/operations';
import { NodeRepository } from './node.repository';

const EVERY_MS = 2_000;
/** What could not be moved is tried again after this. */
const RETRY_MS = 30_000;
/** Each process moves as many at once, to spare the machines: a copy takes all that the network gives. */
const CONCURRENCY = 2;
/** Another process may not have heard yet that the machine is drained. */
const TOLD_MS = 60_000;

/**
 * Empties drained machines of which an administrator has asked that: moves what is on them, a few at a time, as long as
 * they are drained. The wish is in the machine's row, so any process goes on with it.
 */
@Injectable()
export class Evacuation implements OnModuleDestroy {
  private readonly poll: Poll;
  /** When each is tried again that could not be moved, by this process. */
  private readonly nextTry = new Map<string, number>();
  private readonly stopped = new AbortController();

  constructor(
    private readonly engine: ContainerEngine,
    private readonly nodes: NodeRepository,
    private readonly repository: ContainerRepository,
    private readonly operations: ContainerOperations,
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

  /** To be called once Docker is prepared. */
  start(): void {
    if (this.engine.nodes() !== null) this.poll.start();
  }

  onModuleDestroy(): void {
    this.stopped.abort();
    this.poll.stop();
  }

  /** Moves what can be moved now. @throws the database's error */
  async look(): Promise<void> {
    this.forgetDue();
    for (const { id, availability, emptiedSince } of await this.nodes.emptied()) {
      if (availability === 'drain') await this.empty(id);
      else if (this.clock.now().getTime() - emptiedSince.getTime() > TOLD_MS) await this.nodes.setEmptied(id, null);
    }
  }

  /** What is due may have been moved by another process, or deleted: only what still has to wait is kept in mind. */
  private forgetDue(): void {
    const now = performance.now();
    for (const [id, at] of this.nextTry) if (at <= now) this.nextTry.delete(id);
  }

  private async empty(node: string): Promise<void> {
    const waiting = (await this.nodes.idleOn(node)).filter((id) => !this.nextTry.has(id));
    const next = async (): Promise<void> => {
      for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
        if (this.stopped.signal.aborted || !this.engine.answers(node) || !(await this.isWanted(node))) return;
        await this.move(id, node);
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, next));
  }

  private async isWanted(node: string): Promise<boolean> {
    return (await this.nodes.emptied()).some(({ id, availability }) => id === node && availability === 'drain');
  }

  /** Never throws, unless the database does. */
  private async move(id: string, node: string): Promise<void> {
    const row = await this.repository.findById(id);
    if (row?.nodeId !== node || row.operation !== null) return;
    try {
      await this.operations.move(row, {}, { waitMs: 0 });
      this.nextTry.delete(id);
      await this.record(row, 'ok');
      this.logger.info({ container_id: id, node }, 'moved from a drained node');
    } catch (error) {
      if (isBenignConflict(error)) return;
      this.nextTry.set(id, performance.now() + RETRY_MS);
      const code = error instanceof DomainError ? error.code : 'internal_error';
      await this.nodes.noteNotMoved(id, code);
      // The same again is no news.
      if (row.notMovedBecause !== code) await this.record(row, code);
      this.logger.warn({ err: error, container_id: id, node }, 'could not be moved from a drained node yet');
    }
  }

  private async record({ id, userId }: ContainerRow, outcome: string): Promise<void> {
    await this.audit.recordSystem({ action: 'container.move', subjectUserId: userId, containerId: id, outcome });
  }
}

import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { type StartCommandRun, StartCommandRuns } from '../../containers';
import { Database } from '../../database';
import { DomainError } from '../../errors';
import { type ContainerFacts, type EventDraft, EventLog } from '../../events';
import { LOGGER, type Logger } from '../../logging';
import { retryUntilClosed } from '../../scheduling';
import { type ProcessEnd, type ProcessRow, ProcessRows } from '../processes/process-rows';
import { afterEnd, type StartEnd } from './start-policy';
import type { RunEnd } from './start-run';

/** Events after which a start command may be due. */
const BEGIN: readonly EventDraft['type'][] = ['container_started', 'container_resumed', 'container_updated'];

/** A Docker container has at most one start command running; the error says that there is one already. */
const ONE = { count: 1, error: 'operation_in_progress' } as const;

/** Another process has started the course, or the course is over. */
class NotDueError extends Error {}

/** How the readiness of a start command turned out. */
export type Readiness = { readonly afterMs: number } | 'too_late';

/** What the database knows of runs of start commands. Each note is tried again until it is written. */
@Injectable()
export class StartLedger implements OnModuleDestroy {
  private isClosed = false;

  constructor(
    private readonly courses: StartCommandRuns,
    private readonly rows: ProcessRows,
    private readonly database: Database,
    private readonly events: EventLog,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  onModuleDestroy(): void {
    this.isClosed = true;
  }

  /** Calls back after events that may make a start command due. */
  onBegin(listener: () => void): void {
    this.events.onCommitted((_userId, events) => {
      if (events.some(({ type }) => BEGIN.includes(type))) listener();
    });
  }

  /** The start commands that are due, the longest due first. */
  listDue(limit: number): Promise<StartCommandRun[]> {
    return this.courses.listDue(limit);
  }

  /** Those of these runs whose course is over. */
  async over(runs: readonly StartCommandRun[]): Promise<StartCommandRun[]> {
    const present = await this.courses.runsOf(runs.map(({ container }) => container.id));
    return runs.filter(({ run }) => !present.has(run));
  }

  /**
   * Takes a course that is due, for this process.
   *
   * @returns the row of the run; null if the course is not due any more, or the previous run has not ended
   */
  async take(course: StartCommandRun): Promise<ProcessRow | null> {
    const { container, start, run } = course;
    const { id: containerId, userId, engineId } = container;
    const command = start.command;
    const reserved = { id: randomUUID(), containerId, userId, engineId, runAs: null, command, course: run };
    try {
      return await this.database.runInTxLocking(userId, async () => {
        await this.events.lock(userId);
        const row = await this.rows.reserve(reserved, ONE);
        if (!(await this.courses.take(course))) throw new NotDueError();
        return row;
      });
    } catch (error) {
      if (error instanceof NotDueError || error instanceof DomainError) return null;
      throw error;
    }
  }

  /** @returns the course of a run that a dead process has left; null if it is over; undefined if this process closes */
  async courseOf(row: ProcessRow): Promise<StartCommandRun | null | undefined> {
    const found = await this.write(row, async () => ({ course: await this.courses.courseOfRun(row) }));
    return found?.course;
  }

  async noteStarted(row: ProcessRow): Promise<void> {
    await this.write(row, () => this.rows.announce(row));
  }

  async noteReady(course: StartCommandRun, row: ProcessRow, outcome: Readiness): Promise<void> {
    const { userId, containerId, id } = row;
    const note = async (): Promise<void> => {
      await this.events.lock(userId);
      const isPresent = await this.courses.noteReady(course, outcome !== 'too_late');
      const facts = isPresent ? await this.courses.factsOf(containerId) : null;
      if (!facts) return;
      await this.events.append({ userId, drafts: [readyEvent(course, { ...facts, process_id: id }, outcome)] });
    };
    await this.write(row, () => this.database.runInTxLocking(userId, note));
  }

  /**
   * Writes the end of a run, and when the next one is due, in one transaction. If this process dies before, another one
   * sees the end.
   */
  async settle(course: StartCommandRun, row: ProcessRow, { end, ranMs }: RunEnd): Promise<void> {
    const { restart } = course.start;
    const { failures } = course;
    const isStarted = ranMs !== null || row.isAnnounced;
    const also = async ({ reason, exitCode }: ProcessEnd): Promise<void> => {
      // Another process may have requested the end.
      const last: StartEnd = reason === 'ended' ? { reason, exitCode: exitCode ?? 0 } : end;
      await this.courses.settle(course, afterEnd(last, { restart, failures, ranMs: ranMs ?? 0 }));
      if (!isStarted) await this.rows.delete(row);
    };
    const seen: ProcessEnd = { reason: end.reason, exitCode: 'exitCode' in end ? end.exitCode : null };
    // A command that never ran because its container does not run gets no event.
    const isTold = isStarted || end.reason === 'command_not_started';
    await this.write(row, () => this.rows.finish(row, seen, { isTold, also }));
  }

  private write<T>({ containerId }: ProcessRow, work: () => Promise<T>): Promise<T | null> {
    const retrier = {
      isClosed: () => this.isClosed,
      failed: (error: unknown) => this.logger.warn({ err: error, container_id: containerId }, UNWRITTEN),
    };
    return retryUntilClosed(retrier, work);
  }
}

const UNWRITTEN = 'what becomes of a start command could not be written yet';

function readyEvent(
  { start }: StartCommandRun,
  data: ContainerFacts & { process_id: string },
  outcome: Readiness,
): EventDraft {
  if (outcome === 'too_late') {
    return { type: 'container_not_ready', data: { ...data, within_seconds: start.ready?.within_seconds ?? 0 } };
  }
  return { type: 'container_ready', data: { ...data, seconds: Math.round(outcome.afterMs / 100) / 10 } };
}

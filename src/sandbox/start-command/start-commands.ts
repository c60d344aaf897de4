import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { type StartCommandRun, StartCommandRuns } from '../../containers';
import { Database } from '../../database';
import { ContainerEngine } from '../../docker';
import { randomUUID } from 'node:crypto';
import { DomainError } from '../../errors';
import { type ContainerFacts, type EventDraft, EventLog } from '../../events';
import { LOGGER, type Logger } from '../../logging';
import { Clock, Poll, retryUntilClosed } from '../../scheduling';
import { KeptPrograms } from '../kept-programs';
import { BackgroundProcesses } from '../processes/background-processes';
import { type ProcessEnd, type ProcessEntity, ProcessRows } from '../processes/process-rows';
import { ProcessWatch } from '../processes/process-watch';
import { afterEnd, type StartEnd } from './start-policy';
import { type RunEnd, StartRun } from './start-run';

/** Events after which a start command may be due. */
const BEGIN: readonly EventDraft['type'][] = ['container_started', 'container_resumed', 'container_updated'];

const CHECK_EVERY_MS = 1_000;
/** Delay of the check after an event that may begin a course: such events come several at a time. */
const CHECK_SOON_MS = 50;
const AT_ONCE = 64;

/** A Docker container has at most one start command running; the error says that there is one already. */
const ONE = { count: 1, error: 'operation_in_progress' } as const;

/** Another process has started the course, or the course is over. */
class NotDueError extends Error {}

/**
 * Runs start commands. The database decides which Berth process runs one: a container has at most one running process
 * of kind `start`, and only the first Berth process to take a due course gets it. If that one dies, the command runs
 * on, and another one follows it.
 */
@Injectable()
export class StartCommands implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly closing = new AbortController();
  private readonly poll: Poll;
  private readonly runs = new Map<string, StartRun>();
  /** The courses that this process is about to take. */
  private readonly taking = new Set<string>();
  private soon: NodeJS.Timeout | undefined;

  constructor(
    private readonly courses: StartCommandRuns,
    private readonly programs: KeptPrograms,
    processes: BackgroundProcesses,
    private readonly rows: ProcessRows,
    private readonly watch: ProcessWatch,
    private readonly engine: ContainerEngine,
    private readonly database: Database,
    private readonly events: EventLog,
    private readonly clock: Clock,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.poll = new Poll({
      everyMs: CHECK_EVERY_MS,
      work: () => this.check(),
      onFault: (error) => this.logger.warn({ err: error }, 'start commands could not be looked for; tried again'),
    });
    processes.onTakenStart((row) => void this.resume(row));
  }

  /** Docker has been prepared by the time of this hook. */
  onApplicationBootstrap(): void {
    this.events.onCommitted((_userId, events) => {
      if (events.some(({ type }) => BEGIN.includes(type))) this.checkSoon();
    });
    this.poll.start();
  }

  /** Running commands continue, and the next process follows them. */
  onModuleDestroy(): void {
    this.closing.abort();
    this.poll.stop();
    clearTimeout(this.soon);
  }

  private checkSoon(): void {
    if (this.closing.signal.aborted) return;
    this.soon ??= setTimeout(() => {
      this.soon = undefined;
      // An error is ignored here: the next regular check reports it.
      void this.check().catch(() => undefined);
    }, CHECK_SOON_MS).unref();
  }

  /** Ends the runs whose course is over, and starts the courses that are due. */
  private async check(): Promise<void> {
    const own = [...this.runs.values()];
    const present = await this.courses.runsOf(own.map(({ course }) => course.container.id));
    for (const run of own) if (!present.has(run.course.run)) run.end();
    for (const course of await this.courses.listDue(AT_ONCE)) {
      if (this.closing.signal.aborted) return;
      if (!this.taking.has(course.run)) void this.run(course);
    }
  }

  private async run(course: StartCommandRun): Promise<void> {
    this.taking.add(course.run);
    try {
      const row = await this.take(course);
      this.taking.delete(course.run);
      if (row) await this.runTaken(course, row);
    } catch (error) {
      if (this.closing.signal.aborted) return;
      this.logger.error({ err: error, container_id: course.container.id }, 'a start command could not be run');
    } finally {
      this.taking.delete(course.run);
    }
  }

  /** @returns null if the course is not due any more, or the previous run has not ended */
  private async take(course: StartCommandRun): Promise<ProcessEntity | null> {
    const { container, start, run } = course;
    const { id: containerId, userId, dockerId } = container;
    const reserved = {
      id: randomUUID(),
      containerId,
      userId,
      dockerId,
      runAs: null,
      command: start.command,
      course: run,
    };
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

  /** Follows a run whose process has died. Never throws. */
  private async resume(row: ProcessEntity): Promise<void> {
    const ranMs = Math.max(0, this.clock.now().getTime() - row.startedAt.getTime());
    const resumed = await retryUntilClosed(this.retrier(row), async () => ({
      course: await this.courses.courseOfRun(row),
    }));
    try {
      if (!resumed) return;
      if (resumed.course) await this.runTaken(resumed.course, row, ranMs);
      else await this.endUnwanted(row);
    } catch (error) {
      if (this.closing.signal.aborted) return;
      this.logger.error({ err: error, container_id: row.containerId }, 'a start command could not be followed');
    }
  }

  /** Ends a run whose course is over. */
  private async endUnwanted(row: ProcessEntity): Promise<void> {
    const ending = retryUntilClosed(this.retrier(row), async () => {
      if ((await this.watch.end(row)) !== 'ended') throw new Error('the start command still runs');
    });
    const end = await this.watch.untilEnd(row);
    await ending;
    if (end) await this.watch.report(row, end, { isTold: row.isAnnounced });
  }

  private async runTaken(course: StartCommandRun, row: ProcessEntity, ranMs: number | null = null): Promise<void> {
    const { engine, programs, rows, watch, closing } = this;
    const run = new StartRun({ engine, programs, rows, watch, closing: closing.signal }, course, row);
    this.runs.set(row.id, run);
    try {
      const listener = {
        started: () => this.noteStarted(row),
        ready: (outcome: Readiness) => this.noteReady(course, row, outcome),
      };
      const end = await run.toEnd(listener, { ranMs });
      if (end) await this.settle(course, row, end);
    } finally {
      this.runs.delete(row.id);
    }
    this.checkSoon();
  }

  private async noteStarted(row: ProcessEntity): Promise<void> {
    await retryUntilClosed(this.retrier(row), () => this.rows.announce(row));
  }

  private async noteReady(course: StartCommandRun, row: ProcessEntity, outcome: Readiness): Promise<void> {
    const { userId, containerId, id } = row;
    await retryUntilClosed(this.retrier(row), () =>
      this.database.runInTxLocking(userId, async () => {
        await this.events.lock(userId);
        const isPresent = await this.courses.noteReady(course, outcome !== 'too_late');
        const facts = isPresent ? await this.courses.factsOf(containerId) : null;
        if (!facts) return;
        await this.events.append({ userId, drafts: [readyEvent(course, { ...facts, process_id: id }, outcome)] });
      }),
    );
  }

  /**
   * Writes the end of a run, and when the next one is due, in one transaction. If this process dies before, another one
   * sees the end.
   */
  private async settle(course: StartCommandRun, row: ProcessEntity, { end, ranMs }: RunEnd): Promise<void> {
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
    await retryUntilClosed(this.retrier(row), () => this.rows.finish(row, seen, { isTold, also }));
  }

  private retrier({ containerId }: ProcessEntity): { isClosed(): boolean; failed(error: unknown): void } {
    return {
      isClosed: () => this.closing.signal.aborted,
      failed: (error) => this.logger.warn({ err: error, container_id: containerId }, UNWRITTEN),
    };
  }
}

const UNWRITTEN = 'what becomes of a start command could not be written yet';

type Readiness = { readonly afterMs: number } | 'too_late';

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

import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { type StartCommandRun, StartCommandRuns } from '../../containers';
import { Database } from '../../database';
import { ContainerEngine } from '../../docker';
import { DomainError } from '../../errors';
import { type ContainerFacts, type EventDraft, EventLog } from '../../events';
import { LOGGER, type Logger } from '../../logging';
import { Poll, retryUntilClosed } from '../../scheduling';
import { type HeldProgramEntity, ProgramRegistry } from '../program-registry';
import { processFacts, BackgroundProcesses } from '../processes/background-processes';
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
 * Runs start commands. The database decides which Berth process runs one: a container has at most one registry row of
 * kind `start`, and only the first process to take a due course gets it.
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
    private readonly programs: ProgramRegistry,
    private readonly processes: BackgroundProcesses,
    private readonly engine: ContainerEngine,
    private readonly database: Database,
    private readonly events: EventLog,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.poll = new Poll({
      everyMs: CHECK_EVERY_MS,
      work: () => this.check(),
      onFault: (error) => this.logger.warn({ err: error }, 'start commands could not be looked for; tried again'),
    });
  }

  /** Docker has been prepared by the time of this hook. */
  onApplicationBootstrap(): void {
    this.programs.onLost('start', (program) => this.lost(program));
    this.events.onCommitted((_userId, events) => {
      if (events.some(({ type }) => BEGIN.includes(type))) this.checkSoon();
    });
    this.poll.start();
  }

  /** Running commands continue until the next process takes them over: see `ProgramRegistry`. */
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
      const entry = await this.take(course);
      this.taking.delete(course.run);
      if (entry) await this.runEntered(course, entry);
    } catch (error) {
      if (this.closing.signal.aborted) return;
      this.logger.error({ err: error, container_id: course.container.id }, 'a start command could not be run');
    } finally {
      this.taking.delete(course.run);
    }
  }

  /** @returns null if the course is not due any more, or the previous run still has a row */
  private async take(course: StartCommandRun): Promise<HeldProgramEntity | null> {
    const { container, start } = course;
    try {
      return await this.database.runInTxLocking(container.userId, async () => {
        const env = container.environment();
        const entry = await this.programs.enter(container, { kind: 'start', command: start.command, env, limit: ONE });
        if (!(await this.courses.take(course))) throw new NotDueError();
        return entry;
      });
    } catch (error) {
      if (error instanceof NotDueError || error instanceof DomainError) return null;
      throw error;
    }
  }

  private async runEntered(course: StartCommandRun, entry: HeldProgramEntity): Promise<void> {
    const run = new StartRun(this.engine, this.processes, course, entry, this.closing.signal);
    this.runs.set(entry.id, run);
    try {
      const listener = {
        started: () => this.noteStarted(entry),
        ready: (outcome: Readiness) => this.noteReady(course, entry, outcome),
        handOver: () => this.programs.abandon(entry),
      };
      const end = await run.toEnd(listener).catch((error: unknown) => {
        this.logger.error({ err: error, container_id: course.container.id }, 'a start command could not be held');
        return run.lost();
      });
      if (end) await this.settle(course, entry, end);
    } finally {
      this.runs.delete(entry.id);
    }
    this.checkSoon();
  }

  private async noteStarted(entry: HeldProgramEntity): Promise<void> {
    await this.write(entry, () => this.emit(entry, { type: 'process_started', data: processFacts(entry) }));
  }

  private async noteReady(course: StartCommandRun, entry: HeldProgramEntity, outcome: Readiness): Promise<void> {
    await this.write(entry, async () => {
      const isPresent = await this.courses.noteReady(course, outcome !== 'too_late');
      const facts = isPresent ? await this.courses.factsOf(entry.containerId) : null;
      if (facts) await this.emit(entry, readyEvent(course, { ...facts, process_id: entry.id }, outcome));
    });
  }

  /**
   * Writes the end of a run and deletes its row in one transaction. If this process dies before, the row remains, and
   * the run is settled as lost.
   */
  private async settle(course: StartCommandRun, entry: HeldProgramEntity, { end, ranMs }: RunEnd): Promise<void> {
    const { restart } = course.start;
    const next = afterEnd(end, { restart, failures: course.failures, ranMs: ranMs ?? 0 });
    await this.write(entry, async () => {
      await this.courses.settle(course, next);
      // A command that never ran because its container does not run gets no event.
      const isTold = ranMs !== null || end.reason !== 'container_stopped';
      await this.programs.leave(entry, isTold ? endEvent(entry, end) : null);
    });
  }

  /**
   * Settles a run that its process lost, and makes its event. If the container still runs, the command is run again.
   */
  private async lost(entry: HeldProgramEntity): Promise<EventDraft> {
    await this.courses.settleLost(entry);
    return endEvent(entry, { reason: 'lost' });
  }

  private async emit({ userId }: HeldProgramEntity, event: EventDraft): Promise<void> {
    await this.events.append({ userId, drafts: [event] });
  }

  /**
   * Runs `work` in a transaction if this process still holds the program; otherwise another process considered this
   * one dead and took it over. Retries until the transaction succeeds or this process closes.
   */
  private async write(entry: HeldProgramEntity, work: () => Promise<void>): Promise<void> {
    const { id, userId, containerId } = entry;
    const retrier = {
      isClosed: () => this.closing.signal.aborted,
      failed: (error: unknown) => this.logger.warn({ err: error, container_id: containerId }, UNWRITTEN),
    };
    await retryUntilClosed(retrier, () =>
      this.database.runInTxLocking(userId, async () => {
        await this.events.lock(userId);
        const present = await this.programs.find(containerId, id);
        if (present && this.programs.isOwn(present)) await work();
      }),
    );
  }
}

const UNWRITTEN = 'what becomes of a start command could not be written yet';

type Readiness = { readonly afterMs: number } | 'too_late';

function endEvent(entry: HeldProgramEntity, end: StartEnd): EventDraft {
  const data = processFacts(entry);
  if (end.reason === 'lost') return { type: 'process_lost', data };
  const exit_code = 'exitCode' in end ? end.exitCode : null;
  return { type: 'process_exited', data: { ...data, exit_code, reason: end.reason } };
}

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

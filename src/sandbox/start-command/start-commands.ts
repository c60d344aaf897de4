import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import type { StartCommandRun } from '../../containers';
import { ContainerEngine } from '../../engine';
import { LOGGER, type Logger } from '../../logging';
import { Clock, Poll } from '../../scheduling';
import { KeptPrograms } from '../programs/kept-programs';
import { BackgroundProcesses } from '../processes/background-processes';
import type { ProcessRow } from '../processes/process-rows';
import { ProcessWatch } from '../processes/process-watch';
import { StartLedger } from './start-ledger';
import { StartRun } from './start-run';

const CHECK_EVERY_MS = 1_000;
/** Delay of the check after an event that may begin a course: such events come several at a time. */
const CHECK_SOON_MS = 50;
const AT_ONCE = 64;

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
    private readonly ledger: StartLedger,
    private readonly programs: KeptPrograms,
    private readonly processes: BackgroundProcesses,
    private readonly watch: ProcessWatch,
    private readonly engine: ContainerEngine,
    private readonly clock: Clock,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.poll = new Poll({
      everyMs: CHECK_EVERY_MS,
      work: () => this.check(),
      onFault: (error) => this.logger.warn({ err: error }, 'start commands could not be looked for; tried again'),
    });
    this.processes.onTakenStart((row) => void this.attempt(row.containerId, () => this.resume(row)));
  }

  /** Docker has been prepared by the time of this hook. */
  onApplicationBootstrap(): void {
    this.ledger.onBegin(() => this.checkSoon());
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
    const over = new Set(await this.ledger.over(own.map(({ course }) => course)));
    for (const run of own) if (over.has(run.course)) run.end();
    for (const course of await this.ledger.listDue(AT_ONCE)) {
      if (this.closing.signal.aborted) return;
      if (!this.taking.has(course.run)) void this.attempt(course.container.id, () => this.begin(course));
    }
  }

  /** Never throws. */
  private async attempt(containerId: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (this.closing.signal.aborted) return;
      this.logger.error({ err: error, container_id: containerId }, 'a start command could not be run');
    }
  }

  private async begin(course: StartCommandRun): Promise<void> {
    this.taking.add(course.run);
    const row = await this.ledger.take(course).finally(() => this.taking.delete(course.run));
    if (row) await this.run(course, row);
  }

  /** Follows a run whose process has died. */
  private async resume(row: ProcessRow): Promise<void> {
    const course = await this.ledger.courseOf(row);
    if (course) await this.run(course, row, Math.max(0, this.clock.now().getTime() - row.startedAt.getTime()));
    else if (course === null) await this.processes.endUnwanted(row);
  }

  private async run(course: StartCommandRun, row: ProcessRow, ranMs: number | null = null): Promise<void> {
    const { engine, programs, watch, ledger, closing } = this;
    const run = new StartRun({ engine, programs, watch, closing: closing.signal }, course, row);
    this.runs.set(row.id, run);
    try {
      const listener = {
        started: () => ledger.noteStarted(row),
        ready: (outcome: Parameters<StartLedger['noteReady']>[2]) => ledger.noteReady(course, row, outcome),
      };
      const end = await run.toEnd(listener, { ranMs });
      if (end) await ledger.settle(course, row, end);
    } finally {
      this.runs.delete(row.id);
    }
    this.checkSoon();
  }
}

import type { Logger } from 'pino';
import type { CopyProgress, PullProgress } from '../../engine';
import type { EventDraft } from '../../events';
import { containerFacts, type Ending, type Verb } from '../model/container.entity';
import type { OperationLease } from './operation-lease';
import type { Execution } from './executor';
import type { Step } from './steps';

/** The progress at each step of a creation, from 0 to 100. A pull advances within {@link PULL}. */
const STAGES: Partial<Record<Step['do'], { stage: string; message: string; progress: number }>> = {
  ensure_volume: { stage: 'volume', message: 'preparing the data volume', progress: 2 },
  ensure_image: { stage: 'image', message: 'preparing the image', progress: 5 },
  create_container: { stage: 'create', message: 'creating the container', progress: 70 },
  start_container: { stage: 'start', message: 'starting the container', progress: 80 },
};
const PULL = { from: 5, to: 60 };

/** The progress at each step of a move to another node. The pull and the copy advance to the next step's value. */
const MOVE_STEPS: Partial<Record<Step['do'], { message: string; progress: number }>> = {
  ensure_image: { message: 'preparing the image on the other node', progress: 0 },
  stop_container: { message: 'stopping the container', progress: 20 },
  commit_layer: { message: 'copying files outside the home directory to the other node', progress: 20 },
  copy_volume: { message: 'copying the data to the other node', progress: 20 },
  start_container: { message: 'starting the container', progress: 95 },
};
const MOVE_PULL = { from: 0, to: 20 };
const MOVE_COPY = { from: 20, to: 95 };

/**
 * How long progress is collected before it is emitted. Most steps take less, and a transaction for each step would
 * compete with Docker for the CPUs.
 */
const COLLECT_MS = 100;

/** Emits an operation's progress, in order and before its outcome. A failure to emit does not fail the operation. */
export class ProgressReporter {
  private last: Promise<void> = Promise.resolve();
  private pending: EventDraft[] = [];
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly lease: OperationLease,
    private readonly logger: Logger,
  ) {}

  /**
   * A creation reports its steps and the pull; an update reports the copy to another volume; a move to another node
   * reports steps, pull and copy. The other operations report nothing.
   */
  listenersOf(verb: Verb | Ending): Pick<Execution, 'onStep' | 'onPull' | 'onCopy'> {
    if (verb === 'create') return { onStep: this.onStep, onPull: this.onPull };
    if (verb === 'move') {
      return {
        onStep: ({ do: step }) => {
          const stage = MOVE_STEPS[step];
          if (stage) this.report({ stage: 'move', ...stage });
        },
        onPull: ({ percent, message }) => this.report({ stage: 'move', message, progress: part(percent, MOVE_PULL) }),
        onCopy: ({ percent, message }) => this.report({ stage: 'move', message, progress: part(percent, MOVE_COPY) }),
      };
    }
    return verb === 'update' ? { onCopy: this.onCopy } : {};
  }

  /** Resolves when all progress reported so far has been emitted. */
  async flush(): Promise<void> {
    this.emitPending();
    await this.last;
  }

  /** Waits for emissions in progress. @returns the progress that is not emitted yet, to be written with the outcome */
  async take(): Promise<readonly EventDraft[]> {
    clearTimeout(this.timer);
    await this.last;
    return this.pending.splice(0);
  }

  private readonly onStep = (step: Step): void => {
    const stage = STAGES[step.do];
    if (stage) this.report(stage);
  };

  private readonly onPull = ({ percent, message }: PullProgress): void => {
    this.report({ stage: 'image', message, progress: part(percent, PULL) });
  };

  private readonly onCopy = ({ percent, message }: CopyProgress): void => {
    this.report({ stage: 'disk', message, progress: percent });
  };

  private report(stage: { stage: string; message: string; progress: number }): void {
    if (this.pending.length === 0) this.timer = setTimeout(() => this.emitPending(), COLLECT_MS);
    this.pending.push({ type: 'container_progress', data: { ...containerFacts(this.lease.row), ...stage } });
  }

  private emitPending(): void {
    clearTimeout(this.timer);
    this.last = this.last.then(async () => {
      // One transaction emits everything reported until now, including what arrived while the database was slow.
      const drafts = this.pending.splice(0);
      if (drafts.length > 0) await this.emit(drafts);
    });
  }

  private async emit(drafts: readonly EventDraft[]): Promise<void> {
    const { lease, logger } = this;
    await lease.emit(drafts).catch((error: unknown) => {
      logger.warn({ err: error, container_id: lease.row.id }, 'progress could not be emitted');
    });
  }
}

function part(percent: number, { from, to }: { from: number; to: number }): number {
  return Math.round(from + ((to - from) * percent) / 100);
}

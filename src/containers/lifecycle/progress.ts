import type { CopyProgress, PullProgress } from '../../docker';
import type { EventDraft } from '../../events';
import { containerFacts } from '../dto/container-facts';
import type { ContainerRow } from '../container.entity';
import type { Step } from './plan';

/** Where each step of a creation lies between 0 and 100; the pull moves on from its own start to the next step's. */
const STAGES: Partial<Record<Step['do'], { stage: string; message: string; progress: number }>> = {
  ensure_volume: { stage: 'volume', message: 'preparing the data volume', progress: 2 },
  ensure_image: { stage: 'image', message: 'preparing the image', progress: 5 },
  create_container: { stage: 'create', message: 'creating the container', progress: 70 },
  start_container: { stage: 'start', message: 'starting the container', progress: 80 },
};
const PULL = { from: 5, to: 60 };

/** Tells an operation's progress in events, in order and before its end; telling may fail without harm to the operation. */
export class ProgressReporter {
  private last: Promise<void> = Promise.resolve();
  private untold: EventDraft[] = [];

  /** @param tell of all that has come together since the last time, in one transaction */
  constructor(
    private readonly row: ContainerRow,
    private readonly tell: (drafts: readonly EventDraft[]) => Promise<void>,
  ) {}

  readonly onStep = (step: Step): void => {
    const stage = STAGES[step.do];
    if (stage) this.report(stage);
  };

  readonly onPull = ({ percent, message }: PullProgress): void => {
    const progress = Math.round(PULL.from + ((PULL.to - PULL.from) * percent) / 100);
    this.report({ stage: 'image', message, progress });
  };

  /** Of a move to another volume, which is all that an update tells of. */
  readonly onCopy = ({ percent, message }: CopyProgress): void => {
    this.report({ stage: 'disk', message, progress: percent });
  };

  /** Resolves when everything reported so far is told. */
  async flush(): Promise<void> {
    await this.last;
  }

  private report(stage: { stage: string; message: string; progress: number }): void {
    this.untold.push({ type: 'container_progress', data: { ...containerFacts(this.row), ...stage } });
    this.last = this.last.then(async () => {
      const drafts = this.untold.splice(0);
      if (drafts.length > 0) await this.tell(drafts);
    });
  }
}

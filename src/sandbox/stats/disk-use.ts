import { Inject, Injectable } from '@nestjs/common';
import { setTimeout as delay } from 'node:timers/promises';
import { ContainerEngine, containerFields, DATA_PATH, saysNotRunning, saysPaused } from '../../engine';
import { LOGGER, type Logger } from '../../logging';
import { FairLimiter, Stopwatch } from '../../scheduling';

/** Before the first measurement: nothing is measured for a page that is left at once. */
const FIRST_MS = 3_000;

/** The shortest pause between two measurements of a container. */
const EVERY_MS = 60_000;

/** The pause is at least this many times as long as the measurement took, so that it costs at most some percent. */
const REST = 30;

/** Concurrent measurements in this process. */
const AT_ONCE = 4;

/** The followers of one container, who share its measurements. */
interface Watch {
  readonly engineId: string;
  followers: number;
  bytes: number | null;
  isFailing: boolean;
}

/**
 * How much the containers' homes take on the disk. Docker does not know it, so the supervisor counts it inside the
 * container, at the cost of that container, while a client follows the container's statistics.
 */
@Injectable()
export class DiskUse {
  private readonly watches = new Map<string, Watch>();
  private readonly limiter = new FairLimiter({ atOnce: AT_ONCE, perKey: 1 });

  constructor(
    private readonly engine: ContainerEngine,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** @returns bytes; null if no follower watches the container, or the size is not known yet */
  of(engineId: string): number | null {
    return this.watches.get(engineId)?.bytes ?? null;
  }

  /** Measures a container from now on. @returns a function that ends that */
  watch(engineId: string): () => void {
    const known = this.watches.get(engineId);
    const watch: Watch = known ?? { engineId, followers: 0, bytes: null, isFailing: false };
    watch.followers += 1;
    if (!known) {
      this.watches.set(engineId, watch);
      void this.run(watch);
    }
    return () => void (watch.followers -= 1);
  }

  /** Measures while there are followers. Never throws. */
  private async run(watch: Watch): Promise<void> {
    await delay(FIRST_MS, undefined, { ref: false });
    while (watch.followers > 0) {
      const taken = new Stopwatch();
      try {
        watch.bytes = await this.limiter.run(watch.engineId, () => this.measure(watch.engineId));
        watch.isFailing = false;
      } catch (error) {
        if (saysNotRunning(error)) break;
        // The size of a paused container stays the same.
        if (!saysPaused(error)) this.noteFault(watch, error);
      }
      const pauseMs = Math.max(EVERY_MS, REST * taken.age);
      const paused = new Stopwatch();
      while (watch.followers > 0 && paused.age < pauseMs) await delay(FIRST_MS, undefined, { ref: false });
    }
    this.watches.delete(watch.engineId);
  }

  /** @returns null if counting takes too long */
  private async measure(engineId: string): Promise<number | null> {
    const { signal } = new AbortController();
    const { bytes, isComplete } = await this.engine.files.usage({ engineId, signal }, Buffer.from(DATA_PATH));
    return isComplete ? bytes : null;
  }

  private noteFault(watch: Watch, error: unknown): void {
    watch.bytes = null;
    if (!watch.isFailing) {
      const about = { err: error, ...containerFields(this.engine.nodes, watch.engineId) };
      this.logger.info(about, 'the disk use of a container could not be measured');
    }
    watch.isFailing = true;
  }
}

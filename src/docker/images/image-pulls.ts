import type Docker from 'dockerode';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { Throttle, untilAborted } from '../../scheduling';
import { EngineError, parseImageReference, type PullProgress } from '../../engine';
import { codeOfPullFailure, isOverRateLimit, saysDiskFull, toEngineError } from '../connection/errors';
import { ndjsonLines } from '../connection/ndjson';
import { readable } from '../connection/streams';
import type { RegistryLogin } from './registry-auth';

/** A line of Docker's pull stream. */
const pullLine = z.object({
  id: z.string().optional(),
  status: z.string().optional(),
  progressDetail: z.object({ current: z.number().optional(), total: z.number().optional() }).nullish(),
  error: z.string().optional(),
  errorDetail: z.object({ message: z.string().optional() }).optional(),
});

type PullLine = z.output<typeof pullLine>;

interface Layer {
  /** Bytes; null until Docker reports it. */
  total: number | null;
  downloaded: number;
  unpacked: number;
}

/**
 * More layers than Docker can unpack; a registry may list any number, and each line of progress iterates over all.
 */
const MAX_LAYERS = 256;

/** Downloading is most of a pull; unpacking the rest. */
const DOWNLOAD_SHARE = 0.7;

/** Combines Docker's progress of each layer into one percentage that never falls. */
export class PullMeter {
  private readonly layers = new Map<string, Layer>();
  private percent = 0;
  private unpacking = false;

  update({ id, status, progressDetail }: PullLine): void {
    if (id === undefined || status === undefined || status.startsWith('Pulling from')) return;
    const layer = this.layers.get(id) ?? { total: null, downloaded: 0, unpacked: 0 };
    if (this.layers.size < MAX_LAYERS) this.layers.set(id, layer);
    if (progressDetail?.total !== undefined && progressDetail.total > 0) layer.total = progressDetail.total;
    const current = Math.min(progressDetail?.current ?? 0, layer.total ?? 0);
    if (status === 'Downloading') layer.downloaded = Math.max(layer.downloaded, current);
    if (status === 'Extracting') this.unpack(layer, current);
    if (status === 'Download complete') layer.downloaded = layer.total ?? 0;
    if (status === 'Pull complete' || status === 'Already exists') this.complete(layer);
    this.percent = Math.max(this.percent, this.share());
  }

  /** The progress of the pull; 100 is reported by the caller that knows the image is present. */
  get progress(): PullProgress {
    if (this.layers.size === 0) return { percent: 0, message: 'looking for the image' };
    return { percent: this.percent, message: this.unpacking ? 'unpacking the image' : 'downloading the image' };
  }

  private unpack(layer: Layer, current: number): void {
    this.unpacking = true;
    layer.downloaded = layer.total ?? 0;
    layer.unpacked = Math.max(layer.unpacked, current);
  }

  private complete(layer: Layer): void {
    // A layer that was already present counts for nothing.
    layer.total ??= 0;
    layer.downloaded = layer.total;
    layer.unpacked = layer.total;
  }

  private share(): number {
    const layers = [...this.layers.values()];
    const known = layers.filter((layer) => layer.total !== null);
    const bytes = known.reduce((sum, layer) => sum + (layer.total ?? 0), 0);
    if (bytes === 0) return 0;
    // Docker downloads three layers at a time and does not report the size of the others, which are assumed to be
    // like the known ones.
    const expected = (bytes / known.length) * layers.length;
    const done = known.reduce(
      (sum, layer) => sum + layer.downloaded * DOWNLOAD_SHARE + layer.unpacked * (1 - DOWNLOAD_SHARE),
      0,
    );
    return Math.min(99, Math.floor((done / expected) * 100));
  }
}

/** The minimum interval between reports, per waiter. */
const REPORT_MS = 250;

/** Short pauses only: a longer outage is better reported than waited out. */
const RETRY_AFTER_MS: readonly number[] = [500, 2_000];

interface PullOptions {
  readonly onProgress?: (progress: PullProgress) => void;
  readonly signal?: AbortSignal;
}

interface PullSource {
  /** Starts a pull. @returns Docker's progress stream */
  readonly open: (reference: string, signal: AbortSignal) => Promise<Readable>;
  /** A pull without output for longer than these milliseconds has failed. */
  readonly stallMs: number;
  /** Pauses, in milliseconds, before each retry of a pull whose registry did not answer. */
  readonly retryAfterMs?: readonly number[];
  /** Called before each retry. */
  readonly onRetry?: (reference: string, error: EngineError) => void;
}

interface Waiter {
  readonly onProgress: (progress: PullProgress) => void;
  readonly throttle: Throttle;
}

interface RunningPull {
  readonly waiters: Set<Waiter>;
  readonly abort: AbortController;
  readonly meter: PullMeter;
  readonly done: Promise<void>;
}

/** Pulls images, each once for any number of callers; a pull without any remaining waiter is aborted. */
export class ImagePulls {
  private readonly running = new Map<string, RunningPull>();

  constructor(private readonly docker: PullSource) {}

  /**
   * @throws EngineError `image_not_found`, `image_access_denied`, `image_unavailable`, `docker_unavailable`, `aborted`
   */
  async pull(reference: string, { onProgress = () => undefined, signal }: PullOptions = {}): Promise<void> {
    if (signal?.aborted) throw aborted(reference);
    const pull = this.running.get(reference) ?? this.start(reference);
    const waiter: Waiter = { onProgress, throttle: new Throttle(REPORT_MS) };
    pull.waiters.add(waiter);
    report(waiter, pull.meter.progress);
    try {
      await untilAborted(pull.done, { signal, aborted: () => aborted(reference) });
      onProgress({ percent: 100, message: 'the image is here' });
    } finally {
      pull.waiters.delete(waiter);
      if (pull.waiters.size === 0) this.end(reference, pull);
    }
  }

  private start(reference: string): RunningPull {
    const waiters = new Set<Waiter>();
    const abort = new AbortController();
    const meter = new PullMeter();
    const done = this.run(reference, { waiters, abort, meter });
    // Every waiter gets the error too. This listener keeps it from being unhandled if there is none left.
    done.catch(() => undefined);
    const pull = { waiters, abort, meter, done };
    this.running.set(reference, pull);
    return pull;
  }

  private end(reference: string, pull: RunningPull): void {
    if (this.running.get(reference) === pull) this.running.delete(reference);
    pull.abort.abort();
  }

  private async run(reference: string, pull: Omit<RunningPull, 'done'>): Promise<void> {
    for (const pause of this.docker.retryAfterMs ?? RETRY_AFTER_MS) {
      try {
        await this.attempt(reference, pull);
        return;
      } catch (error) {
        if (pull.abort.signal.aborted || !isTemporary(error)) throw error;
        this.docker.onRetry?.(reference, error);
        await delay(pause, undefined, { signal: pull.abort.signal });
      }
    }
    await this.attempt(reference, pull);
  }

  private async attempt(reference: string, { waiters, abort, meter }: Omit<RunningPull, 'done'>): Promise<void> {
    const stall = { isOver: false };
    const stallTimer = setTimeout(() => {
      stall.isOver = true;
      abort.abort();
    }, this.docker.stallMs);
    try {
      const stream = await this.docker.open(reference, abort.signal);
      abort.signal.addEventListener('abort', () => stream.destroy(), { once: true });
      if (abort.signal.aborted) stream.destroy();
      for await (const line of ndjsonLines(stream)) {
        stallTimer.refresh();
        this.take(line, { waiters, meter });
      }
    } catch (error) {
      if (stall.isOver)
        throw new EngineError('docker_unavailable', `the pull of ${reference} stalled`, { cause: error });
      throw toEngineError(error, 'pull image');
    } finally {
      clearTimeout(stallTimer);
    }
  }

  private take(text: string, { waiters, meter }: Pick<RunningPull, 'waiters' | 'meter'>): void {
    const line = pullLine.safeParse(parseJson(text));
    if (!line.success) throw new EngineError('docker_unavailable', "Docker's report of a pull cannot be read");
    const failure = line.data.errorDetail?.message ?? line.data.error;
    if (failure !== undefined) {
      const code = codeOfPullFailure(failure) ?? 'image_unavailable';
      throw new EngineError(code, failure, { isDiskFull: saysDiskFull(failure) });
    }
    meter.update(line.data);
    for (const waiter of waiters) report(waiter, meter.progress);
  }
}

function isTemporary(error: unknown): error is EngineError {
  return error instanceof EngineError && error.code === 'image_unavailable' && !isOverRateLimit(error.message);
}

function report(waiter: Waiter, progress: PullProgress): void {
  if (waiter.throttle.passes()) waiter.onProgress(progress);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function aborted(reference: string): EngineError {
  return new EngineError('aborted', `the pull of ${reference} was aborted`);
}

/** Starts a pull; Docker aborts it when the stream is closed. */
export async function openPull(
  docker: Docker,
  reference: string,
  { signal, login }: { signal: AbortSignal; login: RegistryLogin | undefined },
): Promise<Readable> {
  const parsed = parseImageReference(reference);
  const options = {
    fromImage: parsed?.repository ?? reference,
    // Without a tag, Docker before 20.10 pulls every tag.
    tag: parsed?.digest ?? parsed?.tag ?? 'latest',
    abortSignal: signal,
    // dockerode sends this as a header.
    ...(login && { authconfig: login }),
  };
  const stream = await docker.createImage(options);
  return readable(stream);
}

import type { Readable, Writable } from 'node:stream';
import { Throttle } from '../../scheduling';
import {
  type CopyProgress,
  EngineError,
  type EngineErrorCode,
  type OwnerLabels,
  type VolumeCopy,
  type VolumeMeasurement,
} from '../../engine';
import type { DockerClients } from '../connection/client';
import {
  COPY_SCRIPT,
  digestScript,
  MEASURE_SCRIPT,
  RECEIVE_SCRIPT,
  RECORD_BYTES,
  SEND_SCRIPT,
  runVolumeWorker,
  SCRIPT_EXIT,
  SOURCE_PATH,
  TARGET_PATH,
  type WorkerResult,
} from './volume-worker';

/** The minimum interval between reports, except for a new message. */
const REPORT_MS = 250;

/** The percentage at which the verification of the copy starts. */
const CHECK_FROM = 60;

const REPORT = /^(total|copied|checked|cloned|bytes) (\d+)(?: (\d+))?$/;

/** Parses the scripts' reports into the progress of a copy. */
export class CopyMeter {
  /** The disk space that the data uses; null until the script is done. */
  bytes: number | null = null;
  /** Whether the copy shares the blocks of its source. */
  isReflink = false;
  private used = 0;
  private size = 0;
  private last: CopyProgress = { percent: -1, message: '' };
  private readonly throttle = new Throttle(REPORT_MS);

  constructor(private readonly onProgress: (progress: CopyProgress) => void = () => undefined) {}

  /** Ignores lines that are not the scripts' own. */
  take(line: string): void {
    const [, word, number, size] = REPORT.exec(line) ?? [];
    const first = Number(number);
    switch (word ?? '') {
      case 'total':
        this.used = first;
        this.size = Number(size ?? number);
        this.report('copying the data', 0);
        break;
      case 'copied':
        this.report('copying the data', CHECK_FROM * share(first * RECORD_BYTES, this.used));
        break;
      case 'checked':
        this.report('checking the copy', CHECK_FROM + (99 - CHECK_FROM) * share(first * RECORD_BYTES, this.size));
        break;
      case 'cloned':
        this.isReflink = true;
        break;
      case 'bytes':
        this.bytes = first;
        this.report('the data is copied', 100);
        break;
    }
  }

  private report(message: string, percent: number): void {
    const isNew = message !== this.last.message;
    const progress = { percent: Math.max(this.last.percent, Math.floor(percent)), message };
    if (isNew) this.throttle.restart();
    else if (progress.percent === this.last.percent || !this.throttle.passes()) return;
    this.last = progress;
    this.onProgress(progress);
  }
}

/** Headers make the streams longer than the data, so that the ratio may exceed 1. */
function share(part: number, whole: number): number {
  return whole > 0 ? Math.min(1, part / whole) : 0;
}

/** The volume must exist. @throws EngineError, or Docker's refusal */
export async function measureVolume(
  clients: DockerClients,
  { name, image, owner }: VolumeMeasurement,
  timeoutMs: number,
): Promise<{ bytes: number }> {
  const meter = new CopyMeter();
  const mounts = [{ volume: name, path: SOURCE_PATH, access: 'read' } as const];
  const measure = (): Promise<WorkerResult> =>
    runVolumeWorker(
      clients,
      { image, script: MEASURE_SCRIPT, mounts, owner },
      { name: workerName(owner), onReport: (line) => meter.take(line), timeoutMs },
    );
  const result = await runTwiceIfUnreported(measure, () => meter.bytes !== null);
  assertDone(result, image);
  if (meter.bytes === null) assertDone({ ...result, exitCode: SCRIPT_EXIT.failed }, image);
  return { bytes: meter.bytes ?? 0 };
}

/**
 * Docker (26.1) may drop the end of a container's output on a busy machine. The last report of a script that succeeded
 * is then missing, and the script, which only reads, runs once more.
 */
async function runTwiceIfUnreported(
  run: () => Promise<WorkerResult>,
  isReported: () => boolean,
): Promise<WorkerResult> {
  const result = await run();
  return result.exitCode === 0 && !isReported() ? run() : result;
}

/** Both volumes must exist. @throws EngineError `data_too_large`, `copy_failed`, `aborted`, or Docker's refusal */
export async function copyVolume(
  clients: DockerClients,
  { from, to, image, owner, onProgress, signal }: VolumeCopy,
  timeoutMs: number,
): Promise<{ bytes: number; isReflink: boolean }> {
  const meter = new CopyMeter(onProgress);
  const mounts = [
    { volume: from, path: SOURCE_PATH, access: 'read' },
    { volume: to, path: TARGET_PATH, access: 'write' },
  ] as const;
  const result = await runVolumeWorker(
    clients,
    { image, script: COPY_SCRIPT, mounts, owner },
    { name: workerName(owner), onReport: (line) => meter.take(line), signal, timeoutMs },
  );
  assertDone(result, image);
  // See runTwiceIfUnreported: the copy is complete, only its size is unknown.
  if (meter.bytes === null) {
    const { bytes } = await measureVolume(clients, { name: to, image, owner }, timeoutMs);
    meter.take(`bytes ${String(bytes)}`);
  }
  return { bytes: meter.bytes ?? 0, isReflink: meter.isReflink };
}

/** Work on a volume at one end of a copy to another machine. */
export interface VolumeWork extends VolumeMeasurement {
  readonly signal: AbortSignal;
}

/** Two volumes are compared by this. */
export interface VolumeDigest {
  /** Of the volume's archive: the same for the same files. */
  readonly sha256: string;
  /** The disk space that the data uses. */
  readonly bytes: number;
  /** The size of all files in bytes, with their holes. */
  readonly size: number;
}

/**
 * Writes a volume as an archive, and ends `output` only when the archive is complete.
 *
 * @throws EngineError, Docker's refusal
 */
export async function sendVolume(
  clients: DockerClients,
  { name, image, owner, signal }: VolumeWork,
  { output, timeoutMs }: { output: Writable; timeoutMs: number },
): Promise<void> {
  const mounts = [{ volume: name, path: SOURCE_PATH, access: 'read' } as const];
  const result = await runVolumeWorker(
    clients,
    { image, script: SEND_SCRIPT, mounts, owner },
    { name: `berth-${owner.containerId}-send`, output, signal, timeoutMs },
  );
  assertDone(result, image);
  output.end();
}

/**
 * Replaces the contents of a volume by those of an archive.
 *
 * @throws EngineError `data_too_large`, `copy_failed`, `aborted`, or Docker's refusal
 */
export async function receiveVolume(
  clients: DockerClients,
  { name, image, owner, signal }: VolumeWork,
  { input, timeoutMs }: { input: Readable; timeoutMs: number },
): Promise<void> {
  const mounts = [{ volume: name, path: TARGET_PATH, access: 'write' } as const];
  const result = await runVolumeWorker(
    clients,
    { image, script: RECEIVE_SCRIPT, mounts, owner, stdin: true },
    { name: workerName(owner), input, signal, timeoutMs },
  );
  assertDone(result, image);
}

/**
 * @param options.like the digest of the source: holes are treated in the same way, so that the two are comparable
 * @param options.onReport with lines for {@link CopyMeter}
 * @throws EngineError `copy_failed`, `aborted`, or Docker's refusal
 */
export async function digestVolume(
  clients: DockerClients,
  { name, image, owner, signal }: VolumeWork,
  options: { like?: VolumeDigest; onReport: (line: string) => void; timeoutMs: number },
): Promise<VolumeDigest> {
  const { like, timeoutMs } = options;
  const digest = { sha256: '', bytes: 0, size: 0 };
  const onReport = (line: string): void => {
    const [word, value = '', size] = line.split(' ');
    if (word === 'sum') digest.sha256 = value;
    else if (word === 'total') Object.assign(digest, { bytes: Number(value), size: Number(size) });
    if (word !== 'bytes') options.onReport(line);
  };
  const mounts = [{ volume: name, path: SOURCE_PATH, access: 'read' } as const];
  const compute = (): Promise<WorkerResult> =>
    runVolumeWorker(
      clients,
      { image, script: digestScript(like), mounts, owner },
      { name: `berth-${owner.containerId}-check`, onReport, signal, timeoutMs },
    );
  assertDone(await runTwiceIfUnreported(compute, () => digest.sha256 !== ''), image);
  if (!/^[0-9a-f]{64}$/.test(digest.sha256)) throw new EngineError('copy_failed', 'a volume has no digest');
  return digest;
}

/** One name per container: its data is measured or copied by one worker at a time. */
function workerName({ containerId }: OwnerLabels): string {
  return `berth-${containerId}-move`;
}

function assertDone({ exitCode, complaint }: WorkerResult, image: string): void {
  if (exitCode === 0) return;
  const [code, what] = FAILURES[exitCode] ?? (['copy_failed', 'failed'] as const);
  throw new EngineError(code, `the work on a volume by ${image} ${what} (exit code ${String(exitCode)}): ${complaint}`);
}

const FAILURES: Readonly<Partial<Record<number, readonly [EngineErrorCode, string]>>> = {
  [SCRIPT_EXIT.differs]: ['copy_failed', 'made a copy that differs from its source'],
  [SCRIPT_EXIT.full]: ['data_too_large', 'filled the new volume'],
  [SCRIPT_EXIT.toolsMissing]: ['docker_error', 'needs GNU tar and coreutils'],
};

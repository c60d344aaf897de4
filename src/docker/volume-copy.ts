import type { OwnerLabels, VolumeCopy, VolumeMeasurement } from './container-engine';
import { CopyMeter } from './copy-progress';
import type { DockerClients } from './docker-client';
import { EngineError } from './engine-error';
import type { EngineErrorCode } from './engine-error';
import { COPY_SCRIPT, MEASURE_SCRIPT, SCRIPT_EXIT, SOURCE_PATH, TARGET_PATH } from './volume-scripts';
import { runVolumeWorker } from './volume-worker';
import type { WorkerResult } from './volume-worker';

/** The volume must be there. @throws EngineError, or what Docker refuses */
export async function measureVolume(
  clients: DockerClients,
  { name, image, owner }: VolumeMeasurement,
  timeoutMs: number,
): Promise<{ bytes: number }> {
  const meter = new CopyMeter();
  const mounts = [{ volume: name, path: SOURCE_PATH, access: 'read' } as const];
  const result = await runVolumeWorker(
    clients,
    { image, script: MEASURE_SCRIPT, mounts, owner },
    { name: workerName(owner), onReport: (line) => meter.take(line), timeoutMs },
  );
  return { bytes: outcome(result, meter, image) };
}

/** Both volumes must be there. @throws EngineError `data_too_large`, `copy_failed`, `aborted`, or what Docker refuses */
export async function copyVolume(
  clients: DockerClients,
  { from, to, image, owner, onProgress, signal }: VolumeCopy,
  timeoutMs: number,
): Promise<{ bytes: number }> {
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
  return { bytes: outcome(result, meter, image) };
}

/** One container of Berth's is measured or copied once at a time. */
function workerName({ containerId }: OwnerLabels): string {
  return `berth-${containerId}-move`;
}

function outcome({ exitCode, complaint }: WorkerResult, { bytes }: CopyMeter, image: string): number {
  if (exitCode === 0 && bytes !== null) return bytes;
  const [code, what] = FAILURES[exitCode] ?? (['copy_failed', 'failed'] as const);
  throw new EngineError(code, `the work on a volume by ${image} ${what} (exit code ${String(exitCode)}): ${complaint}`);
}

const FAILURES: Readonly<Partial<Record<number, readonly [EngineErrorCode, string]>>> = {
  [SCRIPT_EXIT.differs]: ['copy_failed', 'made a copy that differs from its source'],
  [SCRIPT_EXIT.full]: ['data_too_large', 'filled the new volume'],
  [SCRIPT_EXIT.toolsMissing]: ['docker_error', 'needs GNU tar and coreutils'],
};

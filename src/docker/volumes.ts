import type Docker from 'dockerode';
import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { z } from 'zod';
import { Throttle } from '../scheduling';
import { abortable, type DockerClients } from './client';
import {
  type CopyProgress,
  EngineError,
  type EngineErrorCode,
  type ListedVolume,
  type OwnerLabels,
  type VolumeCopy,
  type VolumeMeasurement,
} from './container-engine';
import { remove } from './container-verbs';
import { LABELS, ownerLabels } from './create-options';
import { ignoringRefusal, refusalOf } from './errors';
import { isKnownState } from './inspect';
import {
  COPY_SCRIPT,
  MEASURE_SCRIPT,
  RECORD_BYTES,
  runVolumeWorker,
  SCRIPT_EXIT,
  SOURCE_PATH,
  TARGET_PATH,
  type WorkerResult,
} from './volume-worker';

const inspection = z.object({
  Name: z.string(),
  Labels: z.record(z.string(), z.string()).nullish(),
});

// Null, not empty, if there is none (Docker before 20.10).
const volumes = z.object({ Volumes: z.array(inspection).nullish() });

/** The name of a container's volume, or of one that its data was moved to. */
const NAME = /^berth-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:-v\d+-[0-9a-f]{8})?$/;

/**
 * By label, and unlabelled ones by name: see {@link isBare}.
 *
 * @throws EngineError `docker_unavailable` if the answer is not a list of volumes
 */
export async function listOwnVolumes(
  docker: Docker,
  { instance, containerId }: { instance: string; containerId?: string },
  signal: AbortSignal,
): Promise<ListedVolume[]> {
  const label = [`${LABELS.instance}=${instance}`];
  if (containerId !== undefined) label.push(`${LABELS.containerId}=${containerId}`);
  const [own, named] = await Promise.all([
    list(docker, { label }, signal),
    list(docker, { name: [`berth-${containerId ?? ''}`] }, signal),
  ]);
  const unlabelled = named
    .filter(({ Labels }) => isBare(Labels))
    .map(({ Name }) => ({ name: Name, containerId: NAME.exec(Name)?.[1] ?? null, labelled: false }))
    .filter((volume) => volume.containerId !== null);
  const labelled = own.map(({ Name, Labels }) => ({
    name: Name,
    containerId: Labels?.[LABELS.containerId] ?? null,
    labelled: true,
  }));
  return [...labelled, ...unlabelled];
}

async function list(
  docker: Docker,
  filters: Readonly<Record<string, string[]>>,
  signal: AbortSignal,
): Promise<z.infer<typeof inspection>[]> {
  const answer: unknown = await docker.listVolumes({ filters, abortSignal: signal });
  return isKnownState(volumes, answer).Volumes ?? [];
}

/** @throws EngineError `docker_unavailable` if the answer is not an inspection of a volume */
export function labelsOfVolume(answer: unknown): Readonly<Record<string, string>> {
  return isKnownState(inspection, answer).Labels ?? {};
}

/**
 * Whether a volume has none of Berth's labels. Docker (26.1) writes them, and the options, after creating the volume's
 * folder: if it dies in between, it has a volume without either from then on, and uses it for that name.
 */
export function isBare(labels: Readonly<Record<string, string>> | null | undefined): boolean {
  return !Object.keys(labels ?? {}).some((label) => label.startsWith('berth.'));
}

/** The minimum interval between reports, except for a new message. */
const REPORT_MS = 250;

/** Where the verification of the copy starts, between 0 and 100. */
const CHECK_FROM = 60;

const REPORT = /^(total|copied|checked|bytes) (\d+)(?: (\d+))?$/;

/** Parses the scripts' reports into the progress of a copy. */
export class CopyMeter {
  /** The disk space that the data uses; null until the script is done. */
  bytes: number | null = null;
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
  const result = await runVolumeWorker(
    clients,
    { image, script: MEASURE_SCRIPT, mounts, owner },
    { name: workerName(owner), onReport: (line) => meter.take(line), timeoutMs },
  );
  return { bytes: outcome(result, meter, image) };
}

/** Both volumes must exist. @throws EngineError `data_too_large`, `copy_failed`, `aborted`, or Docker's refusal */
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

/** One container's data is measured or copied once at a time. */
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

const REPOSITORY = 'berth/empty';

/** The end of an archive, without content: the smallest possible image. */
const EMPTY_TAR = Buffer.alloc(1024);

const TAR_BLOCK = 512;

/**
 * Removes a volume if no container uses it and it is empty, without even an empty file. Docker does not expose a
 * volume's contents, so a container that is never started mounts it for a moment; its archive starts with the volume's
 * root.
 *
 * @returns whether it is gone
 * @throws Docker's errors
 */
export async function removeIfUnused(
  docker: Docker,
  { name, owner }: { name: string; owner: OwnerLabels },
  signal: AbortSignal,
): Promise<boolean> {
  const filters = { volume: [name] };
  const users = await docker.listContainers({ all: true, filters, abortSignal: signal });
  if (users.length > 0 || !(await isEmpty(docker, { name, owner }, signal))) return false;
  try {
    await docker.getVolume(name).remove(abortable(signal, {}));
    return true;
  } catch (error) {
    const status = refusalOf(error)?.status;
    if (status === 404) return true;
    // Somebody uses it now.
    if (status === 409) return false;
    throw error;
  }
}

async function isEmpty(
  docker: Docker,
  { name, owner }: { name: string; owner: OwnerLabels },
  signal: AbortSignal,
): Promise<boolean> {
  const tag = randomUUID();
  const image = `${REPOSITORY}:${tag}`;
  // If the process dies, this container is removed like any other that no row knows.
  const Labels = ownerLabels(owner);
  const changes = [`LABEL ${LABELS.managed}=true`];
  try {
    await text(
      await docker.importImage(Readable.from([EMPTY_TAR]), abortable(signal, { repo: REPOSITORY, tag, changes })),
    );
    const VolumeOptions = { NoCopy: true, Labels: {}, DriverConfig: { Name: 'local', Options: {} } };
    const Mounts = [{ Type: 'volume' as const, Source: name, Target: '/volume', ReadOnly: true, VolumeOptions }];
    const body = { Image: image, Cmd: ['none'], Labels, HostConfig: { NetworkMode: 'none', Mounts } };
    const container = await docker.createContainer(abortable(signal, { _query: {}, _body: body }));
    try {
      return await isRootAlone(await container.getArchive(abortable(signal, { path: '/volume/.' })));
    } finally {
      await remove(container, signal);
    }
  } finally {
    await ignoringRefusal(docker.getImage(image).remove(abortable(signal, {})));
  }
}

/** The root's own header, followed only by the zeros of the end. */
async function isRootAlone(archive: AsyncIterable<string | Buffer>): Promise<boolean> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of archive) {
    const bytes = Buffer.from(chunk);
    chunks.push(bytes);
    length += bytes.length;
    if (length >= 2 * TAR_BLOCK) break;
  }
  const beginning = Buffer.concat(chunks).subarray(TAR_BLOCK, 2 * TAR_BLOCK);
  return beginning.length === TAR_BLOCK && beginning.every((byte) => byte === 0);
}

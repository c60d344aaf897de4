import type Docker from 'dockerode';
import { randomUUID } from 'node:crypto';
import { type Config, ConfigError } from '../../config';
import type { EngineCapabilities } from '../../engine';
import { abortable } from '../connection/client';
import { importEmpty } from '../connection/container-verbs';
import { containerLabels, LABELS, probeLabels } from '../model/labels';
import { sizeOption } from '../model/volume-options';
import { ignoringRefusal, refusalOf } from '../connection/errors';

const PROBE_MB = 16;
const PROBE_REPOSITORY = 'berth/quota-probe';

/** Younger leftovers may belong to another process that is probing now, and is not known to be dead. */
const LEFTOVER_AGE_MS = 10 * 60_000;

/** Why disk space cannot be limited, and what an operator can do. */
interface Refusal {
  readonly reason: string;
  readonly advice: string;
}

const ON_XFS = "put Docker's data on XFS mounted with the option prjquota";

/**
 * Drivers other than overlay2 may accept a size and ignore it. containerd's image store, which a new Docker uses by
 * default from version 29 on, does so (seen with 28.5).
 *
 * @param info Docker's `GET /info`, which names the file system under its data
 * @returns null if the driver does not rule out quotas
 */
function refusalOfDriver(info: unknown): Refusal | null {
  const { Driver, DriverStatus } = (info ?? {}) as { Driver?: string; DriverStatus?: [string, string][] | null };
  const status = new Map(DriverStatus ?? []);
  const driver = Driver ?? 'unknown';
  if (status.get('driver-type')?.startsWith('io.containerd.snapshotter') === true) {
    return {
      reason: `storage driver ${driver} of containerd's image store, which ignores the size of a container`,
      advice: `turn that off with "features": { "containerd-snapshotter": false } in daemon.json, and ${ON_XFS}`,
    };
  }
  const fileSystem = status.get('Backing Filesystem') ?? 'unknown';
  if (driver === 'overlay2' && fileSystem === 'xfs') return null;
  return { reason: `storage driver ${driver} on ${fileSystem}`, advice: ON_XFS };
}

/**
 * Probes whether Docker can limit the size of volumes and writable layers. Starts nothing, and removes leftovers of an
 * earlier, killed probe first.
 *
 * @throws ConfigError if quotas are required and Docker cannot enforce them
 */
export async function probeDiskQuota(
  docker: Docker,
  {
    wanted,
    instance,
    process,
    info,
    signal,
  }: { wanted: Config['DISK_QUOTA']; instance: string; process: string; info: unknown; signal: AbortSignal },
): Promise<EngineCapabilities['diskQuota']> {
  if (wanted === 'off') return 'off';
  const refusal = await refusalOfQuotas(docker, { instance, process, info, signal });
  if (refusal === null) return 'enforced';
  if (wanted === 'preferred') return 'unsupported';
  throw new ConfigError(
    `DISK_QUOTA=required, but Docker cannot limit disk space (${refusal.reason}): ${refusal.advice}`,
  );
}

/** @returns null if both kinds of quota work */
async function refusalOfQuotas(
  docker: Docker,
  { instance, process, info, signal }: { instance: string; process: string; info: unknown; signal: AbortSignal },
): Promise<Refusal | null> {
  const unfit = refusalOfDriver(info);
  if (unfit !== null) return unfit;
  await removeProbes(docker, { instance, signal, isLeft: isOld });
  const id = randomUUID();
  const name = `berth-probe-${id}`;
  const image = `${PROBE_REPOSITORY}:${id}`;
  try {
    await tryQuotas(docker, { name, image, labels: probeLabels({ instance, process }), signal });
    return null;
  } catch (error) {
    const refusal = refusalOf(error);
    if (refusal === null) throw error;
    return { reason: refusal.message.trim(), advice: ON_XFS };
  } finally {
    await ignoringRefusal(docker.getContainer(name).remove(abortable(signal, { force: true })));
    await ignoringRefusal(docker.getVolume(name).remove(abortable(signal, {})));
    await ignoringRefusal(docker.getImage(image).remove(abortable(signal, {})));
  }
}

/**
 * Creates a volume and a container of a limited size; the container from a local empty image, so that no registry is
 * needed.
 */
async function tryQuotas(
  docker: Docker,
  { name, image, labels, signal }: { name: string; image: string; labels: Record<string, string>; signal: AbortSignal },
): Promise<void> {
  const size = sizeOption(PROBE_MB);
  await docker.createVolume(abortable(signal, { Name: name, DriverOpts: { size }, Labels: labels }));
  const changes = Object.entries(labels).map(([label, value]) => `LABEL ${label}=${value}`);
  await importEmpty(docker, { image, changes, signal });
  const HostConfig = { StorageOpt: { size }, NetworkMode: 'none' };
  const body = { Image: image, Cmd: ['none'], Labels: containerLabels(labels), HostConfig };
  await docker.createContainer(abortable(signal, { _query: { name }, _body: body }));
}

/**
 * Removes leftovers of killed probes, at most once per `LEFTOVER_AGE_MS`: a leftover is not removed before it is that
 * old.
 */
export class LeftProbes {
  private lookedAt = -Infinity;

  async remove(docker: Docker, instance: string, signal: AbortSignal): Promise<void> {
    if (performance.now() - this.lookedAt < LEFTOVER_AGE_MS) return;
    await removeProbes(docker, { instance, signal, isLeft: isOld });
    this.lookedAt = performance.now();
  }
}

/** A container, a volume or an image that a probe of this instance made. */
interface ProbeObject {
  /** Milliseconds since 1970. */
  readonly madeAt: number;
  /** The process of Berth that made it; empty if an earlier version did. */
  readonly process: string;
  readonly remove: () => Promise<unknown>;
}

/** What may be removed although the process that made it is not known to be dead. */
const isOld = ({ madeAt }: ProbeObject): boolean => Date.now() - madeAt > LEFTOVER_AGE_MS;

/** Removes the probes' objects that are left of killed processes: first the containers, which use the others. */
export async function removeProbes(
  docker: Docker,
  { instance, signal, isLeft }: { instance: string; signal: AbortSignal; isLeft: (object: ProbeObject) => boolean },
): Promise<void> {
  for (const object of await listProbes(docker, instance, signal)) {
    if (isLeft(object)) await ignoringRefusal(object.remove());
  }
}

/** The objects that probes of this instance have made, and not removed yet. */
export async function listProbes(docker: Docker, instance: string, signal: AbortSignal): Promise<ProbeObject[]> {
  const filters = { label: [`${LABELS.probe}=${instance}`] };
  const containers = await docker.listContainers({ all: true, filters, abortSignal: signal });
  const volumes = await listVolumes(docker, filters, signal);
  // Only in Berth's own repository: any image may have such a label.
  const imageFilters = { ...filters, reference: [PROBE_REPOSITORY] };
  const images = await docker.listImages({ filters: imageFilters, abortSignal: signal });
  const processOf = (labels: Labels): string => labels?.[LABELS.process] ?? '';
  return [
    ...containers
      // A sandbox that an earlier version of Berth created also has the labels of its image, which may be a probe's.
      .filter(({ Labels }) => !isSandbox(Labels))
      .map(({ Id, Created, Labels }) => ({
        madeAt: Created * 1000,
        process: processOf(Labels),
        remove: () => docker.getContainer(Id).remove(abortable(signal, { force: true })),
      })),
    ...volumes.map(({ Name, CreatedAt, Labels }) => ({
      madeAt: Date.parse(CreatedAt ?? ''),
      process: processOf(Labels),
      remove: () => docker.getVolume(Name).remove(abortable(signal, {})),
    })),
    ...images.map(({ Id, Created, Labels }) => ({
      madeAt: Created * 1000,
      process: processOf(Labels),
      remove: () => docker.getImage(Id).remove(abortable(signal, {})),
    })),
  ];
}

/** Undefined or null if Docker reports none. */
type Labels = Readonly<Record<string, string>> | null | undefined;

function isSandbox(labels: Labels): boolean {
  return (labels?.[LABELS.instance] ?? '') !== '';
}

interface ProbeVolume {
  readonly Name: string;
  readonly CreatedAt?: string;
  readonly Labels?: Labels;
}

async function listVolumes(docker: Docker, filters: { label: string[] }, signal: AbortSignal): Promise<ProbeVolume[]> {
  const answer: { Volumes?: unknown } = await docker.listVolumes({ filters, abortSignal: signal });
  // Docker before 20.10 answers null, not an empty list, if there is no volume.
  return Array.isArray(answer.Volumes) ? (answer.Volumes as ProbeVolume[]) : [];
}

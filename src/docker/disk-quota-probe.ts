import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type Docker from 'dockerode';
import { ConfigError } from '../config';
import type { Config } from '../config';
import type { EngineCapabilities } from './container-engine';
import { sizeOption } from './create-options';
import { abortable } from './docker-client';
import { refusalOf } from './docker-errors';
import { ignoringRefusal } from './docker-refusals';
import { LABELS } from './labels';

const PROBE_MB = 16;
const PROBE_IMAGE = { repo: 'berth/quota-probe', tag: 'latest' };

/** The end of an archive and nothing before it: the smallest image there is. */
const EMPTY_TAR = Buffer.alloc(1024);

/** Docker's word for the file system under its data, out of `GET /info`. */
const dockerInfo = (info: unknown): { driver: string; fileSystem: string } => {
  const { Driver, DriverStatus } = (info ?? {}) as { Driver?: string; DriverStatus?: [string, string][] | null };
  const fileSystem = DriverStatus?.find(([name]) => name === 'Backing Filesystem')?.[1];
  return { driver: Driver ?? 'unknown', fileSystem: fileSystem ?? 'unknown' };
};

/**
 * Finds out by trying whether Docker can hold volumes and writable layers to a size. Nothing that it makes is started, and
 * what an earlier, killed probe left is removed first.
 *
 * @throws ConfigError if quotas are required and Docker cannot keep them
 */
export async function probeDiskQuota(
  docker: Docker,
  {
    wanted,
    instance,
    info,
    signal,
  }: { wanted: Config['DISK_QUOTA']; instance: string; info: unknown; signal: AbortSignal },
): Promise<EngineCapabilities['diskQuota']> {
  if (wanted === 'off') return 'off';
  await removeProbes(docker, instance, signal);
  const refusal = await refusalOfQuotas(docker, { instance, info, signal });
  await removeProbes(docker, instance, signal);
  if (refusal === null) return 'enforced';
  if (wanted === 'preferred') return 'unsupported';
  throw new ConfigError(
    `DISK_QUOTA=required, but Docker cannot limit disk space (${refusal}): put Docker's data on XFS mounted with the option prjquota`,
  );
}

/** @returns null if both kinds of quota work, or why not */
async function refusalOfQuotas(
  docker: Docker,
  { instance, info, signal }: { instance: string; info: unknown; signal: AbortSignal },
): Promise<string | null> {
  const { driver, fileSystem } = dockerInfo(info);
  // Other drivers, such as containerd's snapshotters, may take the option and do nothing about it.
  if (driver !== 'overlay2' || fileSystem !== 'xfs') return `storage driver ${driver} on ${fileSystem}`;
  const name = `berth-probe-${randomUUID()}`;
  const labels = { [LABELS.managed]: 'true', [LABELS.probe]: instance };
  const size = sizeOption(PROBE_MB);
  try {
    await docker.createVolume(abortable(signal, { Name: name, DriverOpts: { size }, Labels: labels }));
    await importEmptyImage(docker, signal);
    const body = {
      Image: `${PROBE_IMAGE.repo}:${PROBE_IMAGE.tag}`,
      Cmd: ['none'],
      Labels: labels,
      HostConfig: { StorageOpt: { size }, NetworkMode: 'none' },
    };
    await docker.createContainer(abortable(signal, { _query: { name }, _body: body }));
    return null;
  } catch (error) {
    const refusal = refusalOf(error);
    if (refusal === null) throw error;
    return refusal.message.trim();
  }
}

/** So that the probe depends on no image, and on no registry. */
async function importEmptyImage(docker: Docker, signal: AbortSignal): Promise<void> {
  const stream = await docker.importImage(Readable.from([EMPTY_TAR]), abortable(signal, { ...PROBE_IMAGE }));
  await text(stream);
}

/** Another process of the instance may do the same at the same time: what is gone or held already is fine. */
async function removeProbes(docker: Docker, instance: string, signal: AbortSignal): Promise<void> {
  const filters = { label: [`${LABELS.probe}=${instance}`] };
  const containers = await docker.listContainers({ all: true, filters, abortSignal: signal });
  for (const { Id } of containers) {
    await ignoringRefusal(docker.getContainer(Id).remove(abortable(signal, { force: true })));
  }
  const { Volumes }: { Volumes: { Name: string }[] | null } = await docker.listVolumes({
    filters,
    abortSignal: signal,
  });
  for (const { Name } of Volumes ?? []) await ignoringRefusal(docker.getVolume(Name).remove(abortable(signal, {})));
  const { repo, tag } = PROBE_IMAGE;
  await ignoringRefusal(docker.getImage(`${repo}:${tag}`).remove(abortable(signal, {})));
}

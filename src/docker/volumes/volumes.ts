import { Logger } from '@nestjs/common';
import type Docker from 'dockerode';
import { randomUUID } from 'node:crypto';
import type { Readable, Writable } from 'node:stream';
import { z } from 'zod';
import {
  EngineError,
  type Listed,
  type ListedVolume,
  type ListFilter,
  type OwnerLabels,
  type VolumeCopy,
  type VolumeMeasurement,
  type WantedVolume,
} from '../../engine';
import { abortable } from '../connection/client';
import { importEmpty, remove } from '../connection/container-verbs';
import { containerLabels, LABELS, ownerLabels } from '../model/labels';
import { volumeOptions } from '../model/volume-options';
import type { DockerDaemon } from '../connection/daemon';
import { ignoringGone, ignoringRefusal, isVolumeMissing, refusalOf, unlessMissing } from '../connection/errors';
import { isKnownState } from '../model/inspect';
import type { SandboxHost } from '../host/sandbox-host';
import {
  copyVolume,
  digestVolume,
  measureVolume,
  receiveVolume,
  sendVolume,
  type VolumeDigest,
  type VolumeWork,
} from './volume-copy';
import type { TransferringVolumes } from './volume-transfer';

const inspection = z.object({
  Name: z.string(),
  Labels: z.record(z.string(), z.string()).nullish(),
});

// Docker before 20.10 answers null, not an empty list, if there is no volume.
const volumes = z.object({ Volumes: z.array(inspection).nullish() });

/** The name of a container's volume, or of one that its data was moved to. */
const NAME = /^berth-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:-v\d+-[0-9a-f]{8})?$/;

/** The volumes of a daemon. The methods of {@link TransferringVolumes} are documented there. */
export class Volumes implements TransferringVolumes {
  private readonly logger = new Logger(Volumes.name);

  constructor(
    private readonly daemon: DockerDaemon,
    private readonly host: SandboxHost,
  ) {}

  async ensure(volume: WantedVolume): Promise<{ existed: boolean }> {
    const { name, diskMb, owner, isNew = false } = volume;
    const existing = isNew ? null : await this.inspect(name);
    if (existing !== null && !isBare(existing.labels)) {
      const found = existing.labels[owner.isSnapshot ? LABELS.snapshot : LABELS.containerId];
      if (found === owner.containerId) return { existed: true };
      throw new EngineError('docker_error', `volume: ${name} belongs to ${String(found)}`);
    }
    if (existing !== null && !(await this.call((signal, docker) => removeIfUnused(docker, volume, signal)))) {
      this.logger.warn(`volume ${name} has no labels and no size of Berth's; it holds data and is used as it is`);
      return { existed: true };
    }
    if (existing !== null) this.logger.warn(`volume ${name} had no labels and was empty; recreating it`);
    await this.call((signal, docker) =>
      docker.createVolume({
        Name: name,
        Driver: 'local',
        Labels: ownerLabels(owner),
        DriverOpts: volumeOptions(diskMb, this.host.capabilities),
        abortSignal: signal,
      }),
    );
    return { existed: false };
  }

  async remove(name: string): Promise<void> {
    await this.call(async (signal, docker) => {
      const removal: Promise<unknown> = docker.getVolume(name).remove(abortable(signal, {}));
      await ignoringGone(unlessMissing(removal, isVolumeMissing));
    });
  }

  async list(filter: ListFilter): Promise<Listed<ListedVolume>> {
    return { items: await this.call((signal, docker) => listOwnVolumes(docker, filter, signal)), silent: [] };
  }

  async measure(volume: VolumeMeasurement): Promise<{ bytes: number } | null> {
    if ((await this.inspect(volume.name)) === null) return null;
    const { clients, timeoutMs } = this.daemon;
    return this.daemon.translateErrors('measure volume', () => measureVolume(clients, volume, timeoutMs));
  }

  async copy(copy: VolumeCopy): Promise<{ bytes: number; isReflink: boolean }> {
    for (const name of [copy.from, copy.to]) await this.assertThere(name);
    const { clients, timeoutMs } = this.daemon;
    return this.daemon.translateErrors('copy volume', () => copyVolume(clients, copy, timeoutMs));
  }

  async send(volume: VolumeWork, output: Writable): Promise<void> {
    await this.assertThere(volume.name);
    const { clients, timeoutMs } = this.daemon;
    return this.daemon.translateErrors('send volume', () => sendVolume(clients, volume, { output, timeoutMs }));
  }

  async receive(volume: VolumeWork, input: Readable): Promise<void> {
    await this.assertThere(volume.name);
    const { clients, timeoutMs } = this.daemon;
    return this.daemon.translateErrors('receive volume', () => receiveVolume(clients, volume, { input, timeoutMs }));
  }

  async digest(
    volume: VolumeWork,
    options: { like?: VolumeDigest; onReport: (line: string) => void },
  ): Promise<VolumeDigest> {
    await this.assertThere(volume.name);
    const { clients, timeoutMs } = this.daemon;
    return this.daemon.translateErrors('digest volume', () => digestVolume(clients, volume, { ...options, timeoutMs }));
  }

  /** Docker would silently create a missing volume, and copy nothing. */
  private async assertThere(name: string): Promise<void> {
    if ((await this.inspect(name)) === null)
      throw new EngineError('docker_error', `copy volume: there is no volume ${name}`);
  }

  private async inspect(name: string): Promise<{ labels: Readonly<Record<string, string>> } | null> {
    return this.call(async (signal, docker) => {
      const inspection: Promise<unknown> = docker.getVolume(name).inspect(abortable(signal, {}));
      return unlessMissing(
        inspection.then((answer) => ({ labels: labelsOfVolume(answer) })),
        isVolumeMissing,
      );
    });
  }

  private call<T>(run: (signal: AbortSignal, docker: Docker) => Promise<T>): Promise<T> {
    return this.daemon.callVolumes(run);
  }
}

/**
 * Lists volumes by label, and unlabelled ones by name: see {@link isBare}. Without `containerId` one call is enough,
 * as all names begin alike.
 *
 * @throws EngineError `docker_unavailable` if the answer is not a list of volumes
 */
async function listOwnVolumes(
  docker: Docker,
  { instance, containerId }: { instance: string; containerId?: string },
  signal: AbortSignal,
): Promise<ListedVolume[]> {
  const label = [`${LABELS.instance}=${instance}`];
  if (containerId !== undefined) label.push(`${LABELS.containerId}=${containerId}`);
  const [named, found] = await Promise.all([
    list(docker, { name: [`berth-${containerId ?? ''}`] }, signal),
    containerId === undefined ? null : list(docker, { label }, signal),
  ]);
  const own = found ?? named.filter(({ Labels }) => Labels?.[LABELS.instance] === instance);
  const unlabelled = named
    .filter(({ Labels }) => isBare(Labels))
    .map(({ Name }) => ({ name: Name, containerId: NAME.exec(Name)?.[1] ?? null, labelled: false }))
    .filter((volume) => volume.containerId !== null);
  const labelled = own.map(({ Name, Labels }) => {
    const snapshotId = Labels?.[LABELS.snapshot];
    const containerId = Labels?.[LABELS.containerId] ?? null;
    return { name: Name, containerId, labelled: true, ...(snapshotId !== undefined && { snapshotId }) };
  });
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
function labelsOfVolume(answer: unknown): Readonly<Record<string, string>> {
  return isKnownState(inspection, answer).Labels ?? {};
}

/**
 * Whether a volume has none of Berth's labels. Docker (26.1) writes labels and options after it has created the
 * volume's folder. If Docker dies in between, the volume has neither from then on, and is used for that name.
 */
function isBare(labels: Readonly<Record<string, string>> | null | undefined): boolean {
  return !Object.keys(labels ?? {}).some((label) => label.startsWith('berth.'));
}

const REPOSITORY = 'berth/empty';

const TAR_BLOCK = 512;

/**
 * Removes a volume if no container uses it and it is empty, without even an empty file. Docker does not expose a
 * volume's contents, so a container that is never started mounts it for a moment: the archive of the mount point
 * starts with the volume's root.
 *
 * @returns whether the volume is gone
 * @throws Docker's errors
 */
async function removeIfUnused(
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
    // A container uses it now.
    if (status === 409) return false;
    throw error;
  }
}

async function isEmpty(
  docker: Docker,
  { name, owner }: { name: string; owner: OwnerLabels },
  signal: AbortSignal,
): Promise<boolean> {
  const image = `${REPOSITORY}:${randomUUID()}`;
  // If the process dies, this container is removed like any other orphan.
  const Labels = containerLabels(ownerLabels(owner));
  const changes = [`LABEL ${LABELS.managed}=true`];
  try {
    await importEmpty(docker, { image, changes, signal });
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

/** Whether the archive has only the root's own header, followed by the zeros of the end. */
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

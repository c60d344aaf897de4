import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type Docker from 'dockerode';
import type { OwnerLabels } from './container-engine';
import { remove } from './container-verbs';
import { abortable } from './docker-client';
import { refusalOf } from './docker-errors';
import { ignoringRefusal } from './docker-refusals';
import { LABELS, ownerLabels } from './labels';

const REPOSITORY = 'berth/empty';

/** The end of an archive and nothing before it: the smallest image there is. */
const EMPTY_TAR = Buffer.alloc(1024);

const TAR_BLOCK = 512;

/**
 * Removes a volume if no container has it and it holds nothing, not even an empty file. Docker tells nobody what is in a
 * volume, so a container has it for a moment that is never started; its archive begins with the volume's root.
 *
 * @returns whether it is gone
 * @throws what Docker's failures are
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
    // Somebody has it now.
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
  // What this leaves if the process dies is removed as any container that no row knows.
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

/** The root's own header, and no block after it but the zeros of the end. */
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

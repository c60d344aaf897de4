import { Logger } from '@nestjs/common';
import type Docker from 'dockerode';
import type { MountSettings } from 'dockerode';
import { posix } from 'node:path';
import { z } from 'zod';
import { LruMap } from '../../scheduling';
import { abortable } from '../connection/client';
import type { EngineImage, EnsureImageOptions } from '../container-engine';
import { EngineError, imageNotBuilt } from '../engine-error';
import { claimedLabels, sizeOption } from '../containers/create-options';
import type { DockerDaemon } from '../connection/daemon';
import { hasStatus, unlessMissing } from '../connection/errors';
import { familiarRepository, isBuiltHere, parseImageReference } from './image-reference';
import { ImagePulls } from './image-pulls';
import type { RegistryCredentials } from './registry-auth';
import { againIfStale } from '../connection/stale-connections';
import { openPull } from '../connection/streams';
import { DATA_PATH } from '../containers/supervisor';

/** Far more than one machine has. */
const MOST_IMAGES = 1_000;

/** What the creation itself will report. */
const NO_IMAGE: ImageFacts = { id: '', user: '', path: '', volumes: [], claimedLabels: [] };

/** The images of a daemon. The methods of {@link ContainerEngine} are documented there. */
export class Images {
  private readonly logger = new Logger(Images.name);
  private readonly pulls: ImagePulls;
  /** By their ids, which name the same content for ever. */
  private readonly known = new LruMap<ImageFacts>(MOST_IMAGES);
  /** Whether images, by their ids, have a shell. */
  private readonly shells = new LruMap<boolean>(MOST_IMAGES);

  constructor(
    private readonly daemon: DockerDaemon,
    credentials: RegistryCredentials,
  ) {
    this.pulls = new ImagePulls({
      open: async (reference, signal) => {
        const login = await credentials.loginFor(reference);
        return againIfStale(signal, () => openPull(daemon.clients.streams, reference, { signal, login }));
      },
      stallMs: daemon.timeoutMs,
      onRetry: (reference, error) => this.logger.warn(`the pull of ${reference} failed; retrying: ${error.message}`),
    });
  }

  async ensure(reference: string, options: EnsureImageOptions = {}): Promise<EngineImage> {
    if (parseImageReference(reference) === null) {
      throw new EngineError('image_not_found', `not an image reference: ${reference}`);
    }
    const present = await this.find(reference);
    if (present !== null && (options.refresh !== true || isBuiltHere(reference))) return present;
    if (isBuiltHere(reference)) throw imageNotBuilt(reference);
    await options.beforePull?.(present);
    await this.pulls.pull(reference, options);
    const pulled = await this.find(reference);
    if (pulled === null) throw new EngineError('image_unavailable', `${reference} was removed after its pull`);
    return pulled;
  }

  async find(name: string): Promise<EngineImage | null> {
    const found = await this.inspect(name);
    return found && { id: found.id, digest: found.digest };
  }

  async remove(image: { reference: string; id: string }): Promise<'removed' | 'in_use' | 'kept' | 'gone'> {
    return this.daemon.call('remove image', (signal, docker) => removeImage(docker, image, signal));
  }

  async present(references: readonly string[]): Promise<ReadonlySet<string>> {
    const present = await Promise.all(references.map((reference) => this.find(reference)));
    return new Set(references.filter((_reference, index) => present[index] !== null));
  }

  /** @param name a reference or an id. @returns facts that are all empty if there is no such image */
  async facts(name: string): Promise<ImageFacts> {
    return this.known.get(name) ?? (await this.inspect(name)) ?? NO_IMAGE;
  }

  /** @returns what {@link noteShell} has noted of the image of this id */
  hasShell(id: string): boolean | undefined {
    return this.shells.get(id);
  }

  noteShell(id: string, hasShell: boolean): void {
    this.shells.set(id, hasShell);
  }

  private async inspect(name: string): Promise<PresentImage | null> {
    const found = await this.daemon.call('inspect image', (_signal, docker) => findImage(docker, name));
    const facts = found && imageFacts(found);
    if (facts) this.known.set(facts.id, facts);
    return found;
  }
}

/** @param image what Docker's inspection of the image answers @returns its user as it has it; empty: root */
function userOf(image: unknown): string {
  const { Config } = (image ?? {}) as { Config?: { User?: unknown } | null };
  return typeof Config?.User === 'string' ? Config.User : '';
}

/** What runc and Docker's init search where the image says nothing. */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** @param image what Docker's inspection of the image answers @returns where its programs are searched */
function searchPathOf(image: unknown): string {
  const { Config } = (image ?? {}) as { Config?: { Env?: unknown } | null };
  const variables: unknown[] = Array.isArray(Config?.Env) ? Config.Env : [];
  const path = variables.find((text): text is string => typeof text === 'string' && text.startsWith('PATH='));
  return path?.slice('PATH='.length) ?? DEFAULT_PATH;
}

/**
 * The paths at which an image declares volumes (`VOLUME`), the data volume's own left out.
 *
 * @param image what Docker's inspection of the image answers
 */
export function declaredVolumes(image: unknown): string[] {
  const { Config } = (image ?? {}) as { Config?: { Volumes?: Readonly<Record<string, unknown>> | null } | null };
  const paths = Object.keys(Config?.Volumes ?? {}).map((path) => posix.resolve('/', path));
  return [...new Set(paths)].filter((path) => path !== DATA_PATH).sort();
}

/**
 * Docker creates an anonymous volume for each of these, of unlimited size. With names derived from their paths they are
 * still anonymous, and removed with the container, but together they hold no more than the data volume does.
 */
export function limitedVolumes(paths: readonly string[], diskMb: number): MountSettings[] {
  const size = sizeOption(Math.max(1, Math.floor(diskMb / paths.length)));
  return paths.map((path) => ({
    Type: 'volume',
    Source: '',
    Target: path,
    VolumeOptions: { NoCopy: false, Labels: {}, DriverConfig: { Name: 'local', Options: { size } } },
  }));
}

/** @param image what Docker's inspection of the image answers @returns its labels that pass for Berth's */
function labelsOf(image: unknown): string[] {
  const { Config } = (image ?? {}) as { Config?: { Labels?: Readonly<Record<string, unknown>> | null } | null };
  return claimedLabels(Config?.Labels);
}

/**
 * An image's labels that pass for Berth's, for a container that is created once in a while.
 *
 * @returns none if there is no such image: what the creation itself will report
 */
export async function labelsOfImage(docker: Docker, name: string): Promise<readonly string[]> {
  const inspection: Promise<unknown> = docker.getImage(name).inspect();
  return (await unlessMissing(inspection.then(labelsOf))) ?? [];
}

/** What Docker's inspection of an image answers. */
const inspectedImage = z.object({
  Id: z.string(),
  RepoTags: z.array(z.string()).nullish(),
  RepoDigests: z.array(z.string()).nullish(),
});

/** What decides how an image is run as a sandbox. */
export interface ImageFacts {
  readonly id: string;
  /** Empty: root. */
  readonly user: string;
  /** Where its programs are searched: folders, with colons between them. */
  readonly path: string;
  readonly volumes: readonly string[];
  readonly claimedLabels: readonly string[];
}

/** What Docker knows of an image that is present. */
interface PresentImage extends EngineImage, ImageFacts {
  readonly tags: readonly string[];
}

/** Characters: far more than an image needs, whose author may declare any number of volumes and labels. */
const MOST_FACTS = 2_000;

/** @returns null if they are too long to be remembered of many images */
function imageFacts({ id, user, path, volumes, claimedLabels: claimed }: PresentImage): ImageFacts | null {
  const length = [id, user, path, ...volumes, ...claimed].reduce((sum, text) => sum + text.length, 0);
  return length <= MOST_FACTS ? { id, user, path, volumes, claimedLabels: claimed } : null;
}

/** @param name a reference or an id @returns null if there is no such image */
function findImage(docker: Docker, name: string): Promise<PresentImage | null> {
  const inspection: Promise<unknown> = docker.getImage(name).inspect();
  const found = inspection.then((answer) => {
    const image = inspectedImage.safeParse(answer);
    if (!image.success) throw new EngineError('docker_unavailable', "Docker's answer cannot be read");
    const { Id: id, RepoTags: tags, RepoDigests: digests } = image.data;
    return {
      id,
      digest: digestIn(digests ?? [], name),
      tags: tags ?? [],
      user: userOf(answer),
      path: searchPathOf(answer),
      volumes: declaredVolumes(answer),
      claimedLabels: labelsOf(answer),
    };
  });
  return unlessMissing(found);
}

/** An image has a digest for each repository that it was pulled from or pushed to. */
function digestIn(digests: readonly string[], name: string): string | null {
  const reference = parseImageReference(name);
  if (reference === null) return null;
  const repository = familiarRepository(reference.repository);
  const own = digests.map((text) => text.split('@')).find(([of = '']) => familiarRepository(of) === repository);
  return own?.[1] ?? null;
}

/** See `ContainerEngine.removeImage`. An image that a container uses is refused by Docker itself. */
async function removeImage(
  docker: Docker,
  { reference, id }: { reference: string; id: string },
  signal: AbortSignal,
): Promise<'removed' | 'in_use' | 'kept' | 'gone'> {
  const isNamed = (await findImage(docker, reference))?.id === id;
  const image = isNamed ? null : await findImage(docker, id);
  if (!isNamed && image === null) return 'gone';
  // By its id Docker would remove the only name of an image, too.
  if (image !== null && image.tags.length > 0) return 'kept';
  try {
    await docker.getImage(isNamed ? reference : id).remove(abortable(signal, {}));
    return 'removed';
  } catch (error) {
    if (hasStatus(error, 404)) return 'gone';
    if (hasStatus(error, 409)) return 'in_use';
    throw error;
  }
}

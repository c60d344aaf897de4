import { Logger } from '@nestjs/common';
import type Docker from 'dockerode';
import type { MountSettings } from 'dockerode';
import { posix } from 'node:path';
import { z } from 'zod';
import { LruMap } from '../../scheduling';
import {
  DATA_PATH,
  EngineError,
  type EngineImage,
  type EngineImages,
  type EnsureImageOptions,
  familiarRepository,
  imageNotBuilt,
  isBuiltHere,
  parseImageReference,
  SUPERVISOR_PATH,
} from '../../engine';
import { abortable } from '../connection/client';
import { claimedLabels } from '../model/labels';
import { sizeOption } from '../model/volume-options';
import type { DockerDaemon } from '../connection/daemon';
import { hasStatus, unlessMissing } from '../connection/errors';
import { ImagePulls, openPull } from './image-pulls';
import type { RegistryCredentials } from './registry-auth';
import { againIfStale } from '../connection/stale-connections';

/** Maximum images whose facts are cached: far more than one machine has. */
const MOST_IMAGES = 1_000;

/** How long a creation waits for a registry's answer whether it has the image. */
const REGISTRY_ANSWER_MS = 3_000;

/** The facts of a missing image, which the container's creation will report. */
const NO_IMAGE: ImageFacts = { id: '', user: '', env: [], path: '', volumes: [], claimedLabels: [] };

/** The images of a daemon. The methods of {@link EngineImages} are documented there. */
export class Images implements EngineImages {
  private readonly logger = new Logger(Images.name);
  private readonly pulls: ImagePulls;
  /** By image id, which always names the same content. */
  private readonly known = new LruMap<ImageFacts>(MOST_IMAGES);

  constructor(
    private readonly daemon: DockerDaemon,
    private readonly credentials: RegistryCredentials,
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

  async isAbsent(reference: string): Promise<boolean> {
    if ((await this.find(reference)) !== null) return false;
    const authconfig = await this.credentials.loginFor(reference);
    // Docker asks the registry, which may be slow: on the client whose connections are not limited.
    const { streams } = this.daemon.clients;
    const ask = () => streams.getImage(reference).distribution(authconfig && { authconfig });
    return this.daemon.call('look up image', ask, REGISTRY_ANSWER_MS).then(
      () => false,
      (error: unknown) => error instanceof EngineError && hasStatus(error.cause, 404),
    );
  }

  async find(name: string): Promise<EngineImage | null> {
    const found = await this.inspect(name);
    return found && { id: found.id, digest: found.digest };
  }

  async tag({ id, reference }: { id: string; reference: string }): Promise<void> {
    const [repo = '', tag = ''] = reference.split(':');
    await this.daemon.call('tag image', (signal, docker) => docker.getImage(id).tag(abortable(signal, { repo, tag })));
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

  private async inspect(name: string): Promise<PresentImage | null> {
    const found = await this.daemon.call('inspect image', (_signal, docker) => findImage(docker, name));
    const facts = found && imageFacts(found);
    if (facts) this.known.set(facts.id, facts);
    return found;
  }
}

/** @param image Docker's answer to its inspection @returns its user as written there; empty: root */
function userOf(image: unknown): string {
  const { Config } = (image ?? {}) as { Config?: { User?: unknown } | null };
  return typeof Config?.User === 'string' ? Config.User : '';
}

/** The search path of runc and Docker's init if the image sets none. */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** @param image Docker's answer to its inspection @returns its variables, each `NAME=value` */
function variablesOf(image: unknown): string[] {
  const { Config } = (image ?? {}) as { Config?: { Env?: unknown } | null };
  const variables: unknown[] = Array.isArray(Config?.Env) ? Config.Env : [];
  return variables.filter((text) => typeof text === 'string');
}

/**
 * The paths at which an image declares volumes (`VOLUME`), without those of the data and the supervisor.
 *
 * @param image Docker's answer to its inspection
 */
export function declaredVolumes(image: unknown): string[] {
  const { Config } = (image ?? {}) as { Config?: { Volumes?: Readonly<Record<string, unknown>> | null } | null };
  const paths = Object.keys(Config?.Volumes ?? {}).map((path) => posix.resolve('/', path));
  return [...new Set(paths)].filter((path) => path !== DATA_PATH && path !== SUPERVISOR_PATH).sort();
}

/**
 * Docker would create an anonymous volume of unlimited size for each of these paths. These mounts are anonymous
 * volumes as well (without a source) and are removed with the container, but together they hold no more than the data
 * volume does (each at least 1 MB).
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

/** @param image Docker's answer to its inspection @returns its labels with Berth's prefix */
function labelsOf(image: unknown): string[] {
  const { Config } = (image ?? {}) as { Config?: { Labels?: Readonly<Record<string, unknown>> | null } | null };
  return claimedLabels(Config?.Labels);
}

/**
 * An image's labels with Berth's prefix, not cached: for containers that are created rarely.
 *
 * @returns none if there is no such image, which the container's creation will report
 */
export async function labelsOfImage(docker: Docker, name: string): Promise<readonly string[]> {
  const inspection: Promise<unknown> = docker.getImage(name).inspect();
  return (await unlessMissing(inspection.then(labelsOf))) ?? [];
}

/** Docker's answer to the inspection of an image. */
const inspectedImage = z.object({
  Id: z.string(),
  RepoTags: z.array(z.string()).nullish(),
  RepoDigests: z.array(z.string()).nullish(),
});

/** The properties of an image that decide how it is run as a sandbox. */
export interface ImageFacts {
  readonly id: string;
  /** Empty: root. */
  readonly user: string;
  /** The image's variables, each `NAME=value`. */
  readonly env: readonly string[];
  /** The image's PATH, or the default: folders, with colons between them. */
  readonly path: string;
  readonly volumes: readonly string[];
  readonly claimedLabels: readonly string[];
}

interface PresentImage extends EngineImage, ImageFacts {
  readonly tags: readonly string[];
}

/**
 * Maximum characters of cached facts. Far more than an image needs, but its author may declare any number of variables,
 * volumes and labels.
 */
const MOST_FACTS = 2_000;

/** @returns null if the facts are too long to be cached */
function imageFacts({ id, user, env, path, volumes, claimedLabels: claimed }: PresentImage): ImageFacts | null {
  const length = [id, user, ...env, path, ...volumes, ...claimed].reduce((sum, text) => sum + text.length, 0);
  return length <= MOST_FACTS ? { id, user, env, path, volumes, claimedLabels: claimed } : null;
}

/** @param name a reference or an id @returns null if there is no such image */
function findImage(docker: Docker, name: string): Promise<PresentImage | null> {
  const inspection: Promise<unknown> = docker.getImage(name).inspect();
  const found = inspection.then((answer) => {
    const image = inspectedImage.safeParse(answer);
    if (!image.success) throw new EngineError('docker_unavailable', "Docker's answer cannot be read");
    const { Id: id, RepoTags: tags, RepoDigests: digests } = image.data;
    const env = variablesOf(answer);
    return {
      id,
      digest: digestIn(digests ?? [], name),
      tags: tags ?? [],
      user: userOf(answer),
      env,
      path: env.find((text) => text.startsWith('PATH='))?.slice('PATH='.length) ?? DEFAULT_PATH,
      volumes: declaredVolumes(answer),
      claimedLabels: labelsOf(answer),
    };
  });
  return unlessMissing(found);
}

/**
 * The digest for the repository of `name`. An image has one for each repository that it was pulled from or pushed to.
 */
function digestIn(digests: readonly string[], name: string): string | null {
  const reference = parseImageReference(name);
  if (reference === null) return null;
  const repository = familiarRepository(reference.repository);
  const own = digests.map((text) => text.split('@')).find(([of = '']) => familiarRepository(of) === repository);
  return own?.[1] ?? null;
}

/** See {@link EngineImages.remove}. Docker itself refuses to remove an image that a container uses. */
async function removeImage(
  docker: Docker,
  { reference, id }: { reference: string; id: string },
  signal: AbortSignal,
): Promise<'removed' | 'in_use' | 'kept' | 'gone'> {
  const isNamed = (await findImage(docker, reference))?.id === id;
  const image = isNamed ? null : await findImage(docker, id);
  if (!isNamed && image === null) return 'gone';
  // By id, Docker would also remove an image that has one name.
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

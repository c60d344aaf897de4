import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { setTimeout as delay } from 'node:timers/promises';
import {
  ContainerEngine,
  EngineError,
  type EngineImage,
  type EnsureImageOptions,
  imageNotBuilt,
  isBuiltHere,
  type PullProgress,
  versionReference,
} from '../engine';
import { DomainError } from '../errors';
import { LOGGER, type Logger } from '../logging';
import { Clock } from '../scheduling';
import { ImageCatalog, type ImagePullView } from './image-catalog';
import { ImageRecords } from './image-records';
import type { PullPolicy } from './load-images';
import { TemplateRepository } from './template.repository';

/** The image that a container is to be created from. */
export interface UsableImage {
  /** The image's id, for Docker. */
  readonly name: string;
  readonly version: EngineImage;
  /** Whether this is another version than the container had, because that one is no longer available anywhere. */
  readonly isChanged: boolean;
}

/** The image of a container, and the version that it was created from; null if that is unknown. */
interface PinnedImage {
  readonly image: string;
  readonly imageId: string | null;
  readonly imageDigest: string | null;
}

type PullOptions = Pick<EnsureImageOptions, 'onProgress' | 'signal' | 'node' | 'beforePull'>;

const DAY_MS = 24 * 3_600_000;

/** How long the present version is used after a failed daily check, before the registry is asked again. */
const RETRY_DAILY_AFTER_MS = 10 * 60_000;

/** A pull that an administrator asked for. */
interface RequestedPull {
  progress: PullProgress;
  readonly done: Promise<{ readonly image: EngineImage; readonly previous: EngineImage | null }>;
}

/** Makes images present, and records which of them Berth pulled. */
@Injectable()
export class ImageStore implements OnApplicationBootstrap, OnModuleDestroy {
  /** How long a request waits for its pull, in milliseconds; the pull itself continues. */
  readonly patienceMs: number = 20_000;
  private readonly stopped = new AbortController();
  private readonly requested = new Map<string, RequestedPull>();
  /** When a daily check failed, by reference; `performance.now()`. */
  private readonly failedLooks = new Map<string, number>();

  constructor(
    private readonly engine: ContainerEngine,
    private readonly catalog: ImageCatalog,
    private readonly records: ImageRecords,
    private readonly templates: TemplateRepository,
    private readonly clock: Clock,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    for (const { name } of await this.templates.list()) {
      if (this.catalog.find(name) === undefined) continue;
      this.logger.warn({ template: name }, 'an image of the catalogue has the name of a template, and hides it');
    }
  }

  onModuleDestroy(): void {
    this.stopped.abort();
  }

  /**
   * The image for a new container: pulled if it is missing, or if its pull policy says so.
   *
   * @throws EngineError `image_not_found`, `image_not_built`, `image_access_denied`, `image_unavailable`, `aborted`
   */
  async forCreation(reference: string, options: PullOptions): Promise<UsableImage> {
    const version = await this.newest(reference, options);
    // By id, as the reference may name another version by now.
    return { name: version.id, version, isChanged: false };
  }

  /**
   * The version that {@link forCreation} would return without asking a registry.
   *
   * @returns null if it would ask, or the image is missing
   * @throws EngineError
   */
  async present(reference: string, node: string | null): Promise<EngineImage | null> {
    const policy = this.catalog.pullPolicyOf(reference);
    const asks = policy === 'always' || (policy === 'daily' && (await this.isDailyLookDue(reference)));
    return asks ? null : this.engine.images.find(reference, node);
  }

  /**
   * The image for a container that is recreated: the exact version that it was created from, even if its reference
   * names another by now. If Docker no longer has it, it is pulled again by its digest. If the registry does not have
   * it either, the version that the reference names takes its place.
   *
   * @throws EngineError as {@link forCreation}; `image_unavailable` also if the registry does not tell whether it has
   *   the image
   */
  async forRecreation({ image, imageId, imageDigest }: PinnedImage, options: PullOptions): Promise<UsableImage> {
    if (imageId === null) {
      const version = await this.ensure(image, options);
      return { name: version.id, version, isChanged: false };
    }
    const present = await this.engine.images.find(imageId, options.node);
    // The digest is that of the container's row: an id alone does not name a repository.
    if (present) return { name: imageId, version: { id: imageId, digest: imageDigest }, isChanged: false };
    const isPulled = (await this.policyOf(image)) !== 'never';
    const exact = imageDigest === null || !isPulled ? null : versionReference(image, imageDigest);
    const again = exact === null ? null : await this.ifInRegistry(() => this.ensure(exact, options));
    const version = again ?? (await this.ensure(image, options));
    const isChanged = version.id !== imageId;
    if (isChanged) {
      this.logger.warn(
        { image, image_id: version.id, former_image_id: imageId },
        'the version of the image that a container was created from is nowhere to be had; it is recreated from another',
      );
    }
    return { name: version.id, version, isChanged };
  }

  /**
   * The image for a container that is made from a snapshot: that of its writable layer, or else the version that the
   * snapshot's container had.
   *
   * @throws EngineError `image_not_built` if the layer is gone; as {@link forRecreation}
   */
  async forCopy(pinned: PinnedImage & { layerId: string | null }, options: PullOptions): Promise<UsableImage> {
    const { layerId } = pinned;
    if (layerId === null) return this.forRecreation(pinned, options);
    const present = await this.engine.images.find(layerId, options.node);
    if (present === null) throw imageNotBuilt(layerId);
    return { name: layerId, version: { id: layerId, digest: null }, isChanged: false };
  }

  /**
   * The image, pulled if it is missing and its pull policy is not `never`.
   *
   * @throws EngineError as {@link forCreation}
   */
  async ensure(reference: string, options: EnsureImageOptions): Promise<EngineImage> {
    // The engine itself never pulls an image that is built here.
    if (!isBuiltHere(reference) && (await this.policyOf(reference)) === 'never') {
      const present = await this.engine.images.find(reference, options.node);
      if (!present) throw imageNotBuilt(reference);
      return present;
    }
    return (await this.noted(reference, options)).image;
  }

  /**
   * Asks the registry for an image of the catalogue. Answers within `patienceMs`: a longer pull continues in this
   * process, and further requests join it.
   *
   * @throws DomainError `image_not_found`, `image_never_pulled`, `pull_failed`
   */
  async pull(name: string): Promise<ImagePullView> {
    const { reference, pull: policy } = this.catalog.named(name);
    if (policy === 'never') throw new DomainError('image_never_pulled');
    const pull = this.requested.get(reference) ?? this.request(reference);
    const timer = new AbortController();
    const patience = delay(this.patienceMs, null, { signal: timer.signal }).catch(() => null);
    try {
      const ended = await Promise.race([pull.done, patience]);
      const progress = ended ? 100 : pull.progress.percent;
      const id = ended?.image.id ?? null;
      const previous = ended?.previous?.id ?? null;
      const state = ended === null ? 'pulling' : id === previous ? 'unchanged' : 'updated';
      return { message: SAID[state], name, reference, state, progress, image_id: id, previous_image_id: previous };
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      throw new DomainError('pull_failed', { code: error.code, cause: error });
    } finally {
      timer.abort();
    }
  }

  /** The image of a template is never pulled: another one may have its name in a registry. */
  private async policyOf(reference: string): Promise<PullPolicy> {
    const policy = this.catalog.pullPolicyOf(reference);
    if (policy === 'never' || this.catalog.has(reference)) return policy;
    return (await this.templates.ownsImage(reference)) ? 'never' : policy;
  }

  private request(reference: string): RequestedPull {
    const onProgress = (progress: PullProgress): void => {
      pull.progress = progress;
    };
    const done = this.noted(reference, { refresh: true, onProgress, signal: this.stopped.signal });
    const pull: RequestedPull = { progress: { percent: 0, message: '' }, done };
    this.requested.set(reference, pull);
    done
      .then(
        ({ image }) => this.logger.info({ image: reference, image_id: image.id }, 'pulled as an administrator asked'),
        (error: unknown) => this.logger.warn({ err: error, image: reference }, 'a pull that was asked for failed'),
      )
      .finally(() => this.requested.delete(reference));
    return pull;
  }

  private async newest(reference: string, options: PullOptions): Promise<EngineImage> {
    const policy = this.catalog.pullPolicyOf(reference);
    if (policy === 'missing' || policy === 'never') return this.ensure(reference, options);
    if (policy === 'always') return this.ensure(reference, { ...options, refresh: true });
    const refresh = await this.isDailyLookDue(reference);
    try {
      return await this.ensure(reference, { ...options, refresh });
    } catch (error) {
      if (!refresh || !(error instanceof EngineError) || error.code === 'aborted') throw error;
      const present = await this.engine.images.find(reference, options.node);
      if (!present) throw error;
      this.failedLooks.set(reference, performance.now());
      this.logger.warn({ err: error, image: reference }, 'no newer version could be pulled; the present one is used');
      return present;
    }
  }

  private async isDailyLookDue(reference: string): Promise<boolean> {
    const failed = this.failedLooks.get(reference);
    if (failed !== undefined && performance.now() - failed < RETRY_DAILY_AFTER_MS) return false;
    const checked = await this.records.checkedAt(reference);
    return checked === null || this.clock.now().getTime() - checked.getTime() >= DAY_MS;
  }

  private async noted(
    reference: string,
    options: EnsureImageOptions,
  ): Promise<{ image: EngineImage; previous: EngineImage | null }> {
    let pulled: { readonly engineId: string; readonly previous: EngineImage | null } | undefined;
    const beforePull = async (previous: EngineImage | null): Promise<void> => {
      await options.beforePull?.(previous);
      const engineId = (await this.engine.host.identify(options.node)) ?? '';
      await this.records.begin({ engineId, reference, previousId: previous?.id ?? null });
      pulled = { engineId, previous };
    };
    const image = await this.engine.images.ensure(reference, { ...options, beforePull });
    if (!pulled) return { image, previous: image };
    const { engineId, previous } = pulled;
    await this.records.finish({ engineId, reference, imageId: image.id, brought: image.id !== previous?.id });
    return { image, previous };
  }

  /** @returns null if the registry says that it has no such image */
  private async ifInRegistry(pull: () => Promise<EngineImage>): Promise<EngineImage | null> {
    try {
      return await pull();
    } catch (error) {
      if (error instanceof EngineError && error.code === 'image_not_found') return null;
      throw error;
    }
  }
}

const SAID = {
  updated: 'image pulled',
  unchanged: 'image is up to date',
  pulling: 'image is being pulled',
} as const;

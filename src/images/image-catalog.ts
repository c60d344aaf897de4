import { Inject, Injectable } from '@nestjs/common';
import { ApiProperty } from '@nestjs/swagger';
import { isIP } from 'node:net';
import { Amount, Choice, Flag, Text } from '../api-fields';
import { type Config, CONFIG } from '../config';
import {
  ContainerEngine,
  EngineError,
  isBuiltHere,
  isLayerImage,
  MAX_IMAGE_REFERENCE_LENGTH,
  parseImageReference,
  registryOf,
} from '../engine';
import { DomainError, invalidParameters } from '../errors';
import { type CatalogImage, CUSTOM, PULL_POLICIES, type PullPolicy } from './load-images';

const OPTIONAL_SIZE = { type: 'integer', nullable: true, minimum: 1 } as const;

/** What an image is in addition if it is a template. */
class ImageTemplateView {
  @Text({ example: '2026-11' }) readonly version: string;
  @ApiProperty({ ...OPTIONAL_SIZE, example: 2048, description: 'Default memory in MiB; null if none.' })
  readonly memory_mb: number | null;
  @ApiProperty({ ...OPTIONAL_SIZE, example: 1000, description: 'Default CPU in millicores; null if none.' })
  readonly cpu_shares: number | null;
  @ApiProperty({ ...OPTIONAL_SIZE, example: null, description: 'Default disk size in MiB; null if none.' })
  readonly disk_mb: number | null;
  @Text('Default role; null if none.', { nullable: true, example: 'node' })
  readonly role: string | null;
  @Flag('True if containers start with files in `/home/user`.', { example: false })
  readonly data: boolean;
}

/** An image that a container can be made of, as a client sees it. */
export class ImageView {
  @Text('Value of "image" in a creation.', { example: 'ubuntu' })
  readonly name: string;
  @Text({ example: 'ubuntu:24.04' }) readonly reference: string;
  @Text({ example: 'Ubuntu 24.04 LTS' }) readonly description: string;
  @Flag('True for the image to offer first; exactly one is.', { example: true })
  readonly default: boolean;
  @Choice(
    PULL_POLICIES,
    'When a creation contacts the registry: if the image is missing, once a day, always, or never for images ' +
      'built on the machine.',
  )
  readonly pull: PullPolicy;
  @Flag('True if the image is on the machine, so that creations need no pull; null if unknown.', {
    nullable: true,
    example: true,
  })
  readonly available: boolean | null;
  @ApiProperty({ type: ImageTemplateView, nullable: true, example: null, description: 'Null for catalogue images.' })
  readonly template: ImageTemplateView | null;
}

/** The response of `GET /api/images`. */
export class ImageListView {
  @ApiProperty({ type: [ImageView] }) readonly images: ImageView[];
  @Flag('True if creations can use any image: `custom` with `custom_image`.', { example: true })
  readonly custom_images: boolean;
}

/** The response of `POST /api/admin/images/:name/pull`. */
export class ImagePullView {
  @Choice(['image pulled', 'image is up to date', 'image is being pulled'])
  readonly message: string;
  @Text({ example: 'ubuntu' }) readonly name: string;
  @Text({ example: 'ubuntu:24.04' }) readonly reference: string;
  @Choice(
    ['updated', 'unchanged', 'pulling'],
    'updated: a newer version was pulled. pulling: the pull continues; repeat the request.',
  )
  readonly state: 'updated' | 'unchanged' | 'pulling';
  @Amount('Progress of the pull in percent.', { maximum: 100, example: 100 })
  readonly progress: number;
  @Text('Id of the current version; null during a pull.', { nullable: true, example: `sha256:${'4f1d2c3b'.repeat(8)}` })
  readonly image_id: string | null;
  @Text('Id of the previous version; null if none.', { nullable: true, example: null })
  readonly previous_image_id: string | null;
}

/** Injection token of the catalogue's images. */
export const CATALOG_IMAGES = Symbol('CATALOG_IMAGES');

/** The images that containers can be created from. */
@Injectable()
export class ImageCatalog {
  constructor(
    @Inject(CATALOG_IMAGES) private readonly images: readonly CatalogImage[],
    @Inject(CONFIG) private readonly config: Pick<Config, 'CUSTOM_IMAGES' | 'CUSTOM_IMAGE_REGISTRIES'>,
    private readonly engine: ContainerEngine,
  ) {}

  /**
   * Resolves what a user asked for to the reference for Docker.
   *
   * @param request.image a name or a reference of the catalogue, or `custom`
   * @param request.customImage with `custom` only: any reference by the OCI grammar
   * @throws DomainError `invalid_parameters` that names the field
   */
  resolve({ image, customImage }: { image: string; customImage?: string | undefined }): string {
    if (image === CUSTOM) return this.resolveCustom(customImage);
    if (customImage !== undefined) throw fault('custom_image', `is allowed only with image "${CUSTOM}"`);
    const chosen = this.find(image);
    if (!chosen) {
      const names = [...this.images.map(({ name }) => name), ...(this.allowsCustom ? [CUSTOM] : [])];
      throw fault('image', `must be one of ${names.join(', ')}`);
    }
    return chosen.reference;
  }

  /** The catalogue. Images whose presence is unknown, because Docker does not answer, have `available` null. */
  async list(): Promise<ImageView[]> {
    const present = await this.presentOf(this.images.map(({ reference }) => reference));
    return this.images.map(({ name, reference, description, default: isDefault, pull }) => ({
      name,
      reference,
      description,
      default: isDefault,
      pull,
      available: present?.has(reference) ?? null,
      template: null,
    }));
  }

  /** The image that a client offers first. */
  get default(): CatalogImage {
    const image = this.images.find((each) => each.default) ?? this.images[0];
    if (!image) throw new Error('there is an image in the catalogue');
    return image;
  }

  /** @param text a name or a reference of the catalogue */
  find(text: string): CatalogImage | undefined {
    return this.images.find(({ name }) => name === text) ?? this.images.find(({ reference }) => reference === text);
  }

  /** @throws DomainError `image_not_found` if the catalogue has no image of this name */
  named(name: string): CatalogImage {
    const image = this.images.find((candidate) => candidate.name === name);
    if (!image) throw new DomainError('image_not_found');
    return image;
  }

  /** Whether the operator's catalogue has this reference; it is a user's own image if not. */
  has(reference: string): boolean {
    return this.images.some((image) => image.reference === reference);
  }

  /**
   * An image's pull policy. Outside the catalogue it is `missing`; for images that are built here it is always
   * `never`.
   */
  pullPolicyOf(reference: string): PullPolicy {
    if (isBuiltHere(reference)) return 'never';
    return this.images.find((image) => image.reference === reference)?.pull ?? 'missing';
  }

  /** Whether users may name images of their own. */
  get allowsCustom(): boolean {
    return this.config.CUSTOM_IMAGES === 'allow';
  }

  private resolveCustom(reference: string | undefined): string {
    if (!this.allowsCustom)
      throw fault('image', 'must be a catalogue name: custom images are not allowed on this server');
    if (reference === undefined) throw fault('custom_image', `is required with image "${CUSTOM}"`);
    if (reference.length > MAX_IMAGE_REFERENCE_LENGTH) {
      throw fault('custom_image', `must be at most ${String(MAX_IMAGE_REFERENCE_LENGTH)} characters`);
    }
    const parsed = parseImageReference(reference);
    if (parsed === null) {
      throw fault('custom_image', 'must be an image reference such as registry.example/owner/image:1.2, not an id');
    }
    if (isLayerImage(reference)) {
      throw fault('custom_image', 'must not be the image of a snapshot: give the snapshot as "snapshot"');
    }
    const registry = registryOf(parsed);
    if (!isAllowedRegistry(registry, this.config.CUSTOM_IMAGE_REGISTRIES)) {
      throw fault('custom_image', `must not come from ${registry}: this registry is not allowed on this server`);
    }
    return reference;
  }

  /** Which references Docker has; null: it does not answer. */
  async presentOf(references: readonly string[]): Promise<ReadonlySet<string> | null> {
    try {
      return await this.engine.images.present(references);
    } catch (error) {
      if (error instanceof EngineError) return null;
      throw error;
    }
  }
}

function fault(field: string, message: string): Error {
  return invalidParameters([{ field, message }]);
}

/**
 * Whether users' own images may come from a registry. Docker contacts the registry from the machine itself, which may
 * reach private networks, and the user sees the answer in the container's `status_reason`.
 *
 * @param registry the host, with its port if one is written, in lower case
 * @param allowed the operator's list. Empty: every registry with a public-looking name. Such a name may still resolve
 *   to a private address, or its registry may redirect Docker to one; only a list is safe.
 */
export function isAllowedRegistry(registry: string, allowed: readonly string[]): boolean {
  const host = registry.replace(/:[0-9]+$/, '');
  if (allowed.length > 0) return allowed.includes(registry) || allowed.includes(`${host}:*`);
  const labels = host.split('.');
  const last = labels.at(-1) ?? '';
  // A name of one label is in the machine's own domain. A name that ends in a number is an address in some notation.
  const isAddress = isIP(host) !== 0 || host.startsWith('[') || /^(?:[0-9]+|0x[0-9a-f]*)$/.test(last);
  return labels.length > 1 && !isAddress && last !== 'localhost';
}

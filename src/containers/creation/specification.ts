import { Injectable } from '@nestjs/common';
import { noteProgram } from '../../audit';
import { invalidParameters } from '../../errors';
import { ImageCatalog, templateImage, type TemplateRow } from '../../images';
import type { NetworkPolicy } from '../../network-policy';
import { type CatalogRole, RoleCatalog } from '../../roles';
import { type Resources, type Tier, TiersService } from '../../tiers';
import type { CreateContainerDto } from '../dto/requests';
import type { PutTemplateDto } from '../dto/templates';
import { type ContainerRow, MIB } from '../model/container.entity';
import type { SnapshotRow } from '../model/snapshot.entity';
import { type StartCommand, startCommandOf } from '../model/start-command';
import { assertDataFits, leastDiskMb } from '../operations/data-volumes';
import { NetworkPolicies } from '../policies/network-policies';
import { environmentOf, Environments, type Variables } from '../rows/environments';

/** The DTO's fields as plain data, so that other modules need not instantiate the class. */
export type CreateRequest = Readonly<CreateContainerDto>;

/** The resolved settings of a request for a container. */
export interface Specification {
  /** The image reference as given to Docker. */
  readonly image: string;
  /** The reference of the image that warm slots for it have; null: it cannot take one. */
  readonly slotImage: string | null;
  /** null: it is created from none. */
  readonly template: Pick<TemplateRow, 'name' | 'version'> | null;
  /** null: nothing is installed besides the image. */
  readonly role: CatalogRole | null;
  readonly resources: Resources;
  readonly network: NetworkPolicy;
  readonly environment: Variables;
  /** What runs after each start; null: nothing. */
  readonly start: StartCommand | null;
  /** The tier's limits. */
  readonly limits: Tier;
}

/** A {@link Specification} with its variables encrypted for one container. */
interface SealedSpecification extends Omit<Specification, 'environment'> {
  readonly sealedEnv: string;
}

/** The snapshot that a container is to be made from. */
export type Origin = Pick<SnapshotRow, 'id' | 'nodeId' | 'image' | 'role' | 'dataBytes' | 'keptLayerMb'>;

/** What a container is to be made from, besides an image. */
interface Basis {
  readonly origin: Origin | null;
  readonly template: TemplateRow | null;
}

/** Resolves requests for containers with the catalogues of images, roles and tiers. */
@Injectable()
export class Specifications {
  constructor(
    private readonly images: ImageCatalog,
    private readonly roles: RoleCatalog,
    private readonly tiers: TiersService,
    private readonly policies: NetworkPolicies,
    private readonly environments: Environments,
  ) {}

  /**
   * What a request gives takes precedence over its template, and that over the tier.
   *
   * @param options.origin a snapshot in place of an image, or the files of the template
   * @throws DomainError `invalid_parameters`: no such image or role, variables given twice, more than the tier
   *   allows, or a network that cannot be enforced here; `exec_not_allowed`: a start command that the tier does not
   *   allow
   */
  resolve({ tier, origin, template }: Basis & { tier: string }, request: CreateRequest): Specification {
    const image = template ? template.image : this.imageOf(request, origin);
    const role = this.roles.resolve(request.role ?? template?.role ?? origin?.role ?? undefined);
    const limits = this.tiers.limitsOf(tier);
    const resources = this.sizesOf(request, { origin, template, limits });
    this.tiers.assertWithin(tier, resources, request);
    if (origin) assertDataFits(spaceOf(origin), resources.disk_mb);
    if (request.start) {
      this.tiers.assertExec(tier);
      noteProgram(request.start.command);
    }
    const network = this.policies.resolve(tier, request.network ?? template?.network ?? undefined);
    return {
      image,
      slotImage: slotImageOf(image, { origin, template }),
      template,
      role,
      resources,
      network,
      environment: environmentOf(request) ?? {},
      start: startOf(request, template),
      limits,
    };
  }

  /**
   * Checks the settings of a template.
   *
   * @param origin the snapshot that it is made from; null: an image
   * @throws DomainError `invalid_parameters`: no such role or tier, sizes that the files do not fit into; or none of
   *   the permitted tiers allows the sizes and the network
   */
  assertTemplate(template: Readonly<PutTemplateDto>, origin: Origin | null): void {
    this.roles.resolve(template.role);
    const names = this.tiers.all().map(({ name }) => name);
    const permitted = template.tiers ?? names;
    if (!permitted.every((tier) => names.includes(tier))) {
      throw invalidParameters([{ field: 'tiers', message: `each must be one of ${names.join(', ')}` }]);
    }
    const { memory_mb: memory, cpu_shares: cpu, disk_mb: disk, network } = template;
    const sizes = { memory_mb: memory ?? undefined, cpu_shares: cpu ?? undefined, disk_mb: disk ?? undefined };
    if (origin && disk != null) assertDataFits(spaceOf(origin), disk);
    const refusals = permitted.map((tier) => {
      try {
        this.tiers.assertWithin(tier, sizes);
        this.policies.resolve(tier, network ?? undefined);
        return null;
      } catch (error) {
        return error;
      }
    });
    if (!refusals.includes(null)) throw refusals.at(-1);
  }

  /**
   * The settings of a copy of a container, which gets its variables too.
   *
   * @throws DomainError `invalid_parameters` if the tier does not allow them any more
   */
  ofCopy(tier: string, source: ContainerRow): Specification {
    const { memoryMb: memory_mb, cpuShares: cpu_shares, diskMb: disk_mb } = source;
    const resources = { memory_mb, cpu_shares, disk_mb };
    this.tiers.assertWithin(tier, resources, endsOf(source));
    return {
      image: source.image,
      slotImage: null,
      template: null,
      role: this.roles.resolve(source.role ?? undefined),
      resources,
      network: this.policies.resolve(tier, source.network),
      environment: this.environments.open(source),
      start: source.start,
      limits: this.tiers.limitsOf(tier),
    };
  }

  /** @returns the settings for the row of a container: its encrypted variables are bound to its id */
  seal(id: string, { environment, ...settings }: Specification): SealedSpecification {
    return { ...settings, sealedEnv: this.environments.seal(id, environment) };
  }

  /** A size of a template is a default, so the tier's maximum bounds it. */
  private sizesOf(request: CreateRequest, { origin, template, limits }: Basis & { limits: Tier }): Resources {
    const given = {
      memory_mb: request.memory_mb ?? atMost(template?.memoryMb, limits.max.memory_mb),
      cpu_shares: request.cpu_shares ?? atMost(template?.cpuShares, limits.max.cpu_shares),
      disk_mb: request.disk_mb ?? atMost(template?.diskMb, limits.max.disk_mb),
    };
    const disk = given.disk_mb ?? (origin ? diskFor(origin, limits.default.disk_mb) : undefined);
    return this.tiers.resolve(limits.name, { ...given, disk_mb: disk });
  }

  private imageOf({ image, custom_image: customImage }: CreateRequest, origin: Origin | null): string {
    if (origin === null) return this.images.resolve({ image: image ?? '', customImage: customImage ?? undefined });
    const given = image !== undefined ? 'image' : customImage !== undefined ? 'custom_image' : null;
    if (given === null) return origin.image;
    throw invalidParameters([{ field: given, message: 'must not be combined with "snapshot", which has an image' }]);
  }
}

/** The space that the files of a snapshot need on either disk of a container: its volume or its writable layer. */
function spaceOf({ dataBytes, keptLayerMb }: Origin): number {
  return Math.max(dataBytes, keptLayerMb * MIB);
}

/** The disk of a creation that does not say how much: at least what the snapshot needs. */
function diskFor(origin: Origin, standard: number): number {
  return Math.max(standard, leastDiskMb(spaceOf(origin)));
}

function atMost(size: number | null | undefined, most: number): number | undefined {
  return size == null ? undefined : Math.min(size, most);
}

/** A slot has no data yet, and a snapshot is for too few containers to have slots. */
function slotImageOf(image: string, { origin, template }: Basis): string | null {
  if (template) return template.hasData ? null : templateImage(template);
  return origin ? null : image;
}

/** The command of a template is its administrator's, so it takes no scope and no right of the tier. */
function startOf({ start }: CreateRequest, template: TemplateRow | null): StartCommand | null {
  if (start === undefined) return (template?.start ?? null) as StartCommand | null;
  return start === null ? null : startCommandOf(start);
}

/** What happens to an unused container, and at its next use, as requested for it. */
export function endsOf({ autoStopSeconds, idleAction, autoDeleteSeconds, autoStart }: ContainerRow) {
  return {
    auto_stop_seconds: autoStopSeconds,
    idle_action: idleAction,
    auto_delete_seconds: autoDeleteSeconds,
    auto_start: autoStart,
  };
}

import { Injectable } from '@nestjs/common';
import { noteProgram } from '../audit';
import { invalidParameters } from '../errors';
import { ImageCatalog } from '../images';
import type { NetworkPolicy } from '../network-policy';
import { type CatalogRole, RoleCatalog } from '../roles';
import { type Resources, type Tier, TiersService } from '../tiers';
import type { CreateContainerDto } from './dto/requests';
import type { ContainerRow } from './model/container.entity';
import type { SnapshotRow } from './model/snapshot.entity';
import { assertDataFits, leastDiskMb, MIB } from './operations/data-volumes';
import { NetworkPolicies } from './policies/network-policies';
import { environmentOf, Environments, type Variables } from './rows/environments';

/** The DTO's fields as plain data, so that other modules need not instantiate the class. */
export type CreateRequest = Readonly<CreateContainerDto>;

/** The resolved settings of a request for a container. */
export interface Specification {
  /** The image reference as given to Docker. */
  readonly image: string;
  /** null: nothing is installed besides the image. */
  readonly role: CatalogRole | null;
  readonly resources: Resources;
  readonly network: NetworkPolicy;
  readonly environment: Variables;
  /** The tier's limits. */
  readonly limits: Tier;
}

/** A {@link Specification} with its variables encrypted for one container. */
interface SealedSpecification extends Omit<Specification, 'environment'> {
  readonly sealedEnv: string;
}

/** The snapshot that a container is to be made from. */
export type Origin = Pick<SnapshotRow, 'id' | 'nodeId' | 'image' | 'role' | 'dataBytes' | 'keptLayerMb'>;

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
   * @param options.origin a snapshot in place of an image
   * @throws DomainError `invalid_parameters`: no such image or role, variables given twice, more than the tier
   *   allows, or a network that cannot be enforced here; `exec_not_allowed`: a start command that the tier does not
   *   allow
   */
  resolve({ tier, origin }: { tier: string; origin: Origin | null }, request: CreateRequest): Specification {
    const image = this.imageOf(request, origin);
    const role = this.roles.resolve(request.role ?? origin?.role ?? undefined);
    const limits = this.tiers.limitsOf(tier);
    const disk = request.disk_mb ?? (origin ? diskFor(origin, limits.default.disk_mb) : undefined);
    const resources = this.tiers.resolve(tier, { ...request, disk_mb: disk });
    this.tiers.assertWithin(tier, resources, request);
    if (origin) assertDataFits(spaceOf(origin), resources.disk_mb);
    if (request.start) {
      this.tiers.assertExec(tier);
      noteProgram(request.start.command);
    }
    const network = this.policies.resolve(tier, request.network);
    return { image, role, resources, network, environment: environmentOf(request) ?? {}, limits };
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
      role: this.roles.resolve(source.role ?? undefined),
      resources,
      network: this.policies.resolve(tier, source.network),
      environment: this.environments.open(source),
      limits: this.tiers.limitsOf(tier),
    };
  }

  /** @returns the settings for the row of a container: its encrypted variables are bound to its id */
  seal(id: string, { environment, ...settings }: Specification): SealedSpecification {
    return { ...settings, sealedEnv: this.environments.seal(id, environment) };
  }

  private imageOf({ image, custom_image: customImage }: CreateRequest, origin: Origin | null): string {
    if (origin === null) return this.images.resolve({ image: image ?? '', customImage: customImage ?? undefined });
    const given = image !== undefined ? 'image' : customImage !== undefined ? 'custom_image' : null;
    if (given === null) return origin.image;
    throw invalidParameters([{ field: given, message: 'must not be given with "snapshot", which has an image' }]);
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

/** What happens to an unused container, as requested for it. */
export function endsOf({ autoStopSeconds, idleAction, autoDeleteSeconds }: ContainerRow) {
  return { auto_stop_seconds: autoStopSeconds, idle_action: idleAction, auto_delete_seconds: autoDeleteSeconds };
}

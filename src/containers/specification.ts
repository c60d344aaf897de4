import { Injectable } from '@nestjs/common';
import { noteProgram } from '../audit';
import { ImageCatalog } from '../images';
import type { NetworkPolicy } from '../network-policy';
import { type CatalogRole, RoleCatalog } from '../roles';
import { type Resources, type Tier, TiersService } from '../tiers';
import type { CreateContainerDto } from './dto/requests';
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
   * @throws DomainError `invalid_parameters`: no such image or role, variables given twice, more than the tier
   *   allows, or a network that cannot be enforced here; `exec_not_allowed`: a start command that the tier does not
   *   allow
   */
  resolve(tier: string, request: CreateRequest): Specification {
    const image = this.images.resolve({ image: request.image, customImage: request.custom_image ?? undefined });
    const role = this.roles.resolve(request.role);
    const resources = this.tiers.resolve(tier, request);
    this.tiers.assertWithin(tier, resources, request);
    if (request.start) {
      this.tiers.assertExec(tier);
      noteProgram(request.start.command);
    }
    const network = this.policies.resolve(tier, request.network);
    const environment = environmentOf(request) ?? {};
    return { image, role, resources, network, environment, limits: this.tiers.limitsOf(tier) };
  }

  /** @returns the settings for the row of a container: its encrypted variables are bound to its id */
  seal(id: string, { environment, ...settings }: Specification): SealedSpecification {
    return { ...settings, sealedEnv: this.environments.seal(id, environment) };
  }
}

import { Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { noteProgram } from '../audit';
import { DomainError } from '../errors';
import { IdempotencyKeys, requestHash } from '../idempotency';
import { ImageCatalog } from '../images';
import type { NetworkPolicy } from '../network-policy';
import { type CatalogRole, RoleCatalog } from '../roles';
import { Clock } from '../scheduling';
import { type Resources, type Tier, TiersService } from '../tiers';
import { Capacity } from './capacity/capacity';
import { assertSession, type Caller } from './access/container-access';
import { containerFacts, type ContainerRow } from './model/container.entity';
import { ContainerRepository } from './rows/container.repository';
import type { CreateContainerDto } from './dto/requests';
import * as answer from './dto/responses';
import { environmentOf, Environments } from './rows/environments';
import { ContainerLeases } from './operations/container-leases';
import { newContainer } from './new-container';
import { NetworkPolicies } from './policies/network-policies';
import { ContainerOperations } from './operations/operations';

/** The DTO's fields as plain data, so that other modules need not instantiate the class. */
export type CreateRequest = Readonly<CreateContainerDto>;

/** Options that make a creation safe to retry. */
export interface CreateOptions {
  /** For 24 hours, the same key with the same request creates nothing and returns the first answer. */
  readonly idempotencyKey?: string | undefined;
  /** Called if the answer is replayed. */
  readonly onReplayed?: () => void;
}

/** A creation with an idempotency key. */
interface KeyedCreation {
  readonly key: string;
  readonly requestHash: string;
  readonly created: answer.ContainerCreatedView;
}

/** The resolved settings of a request for a container. */
interface Specification {
  /** The image reference as given to Docker. */
  readonly image: string;
  /** null: nothing is installed besides the image. */
  readonly role: CatalogRole | null;
  readonly resources: Resources;
  readonly network: NetworkPolicy;
  /** The environment variables, encrypted. */
  readonly sealedEnv: string;
  /** The tier's limits. */
  readonly limits: Tier;
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
   * @param options.id the container's id, which its encrypted variables are bound to
   * @throws DomainError `invalid_parameters`: no such image or role, variables given twice, more than the tier
   *   allows, or a network that cannot be enforced here; `exec_not_allowed`: a start command that the tier does not
   *   allow
   */
  resolve({ id, tier }: { id: string; tier: string }, request: CreateRequest): Specification {
    const image = this.images.resolve({ image: request.image, customImage: request.custom_image ?? undefined });
    const role = this.roles.resolve(request.role);
    const resources = this.tiers.resolve(tier, request);
    this.tiers.assertWithin(tier, resources, request);
    if (request.start) {
      this.tiers.assertExec(tier);
      noteProgram(request.start.command);
    }
    const network = this.policies.resolve(tier, request.network);
    const sealedEnv = this.environments.seal(id, environmentOf(request) ?? {});
    return { image, role, resources, network, sealedEnv, limits: this.tiers.limitsOf(tier) };
  }
}

/** Accepts new containers: checks the request, inserts the row under its first lease, and starts the operation. */
@Injectable()
export class Creation {
  constructor(
    private readonly specifications: Specifications,
    private readonly capacity: Capacity,
    private readonly repository: ContainerRepository,
    private readonly keys: IdempotencyKeys,
    private readonly leases: ContainerLeases,
    private readonly operations: ContainerOperations,
    private readonly clock: Clock,
  ) {}

  /**
   * Accepts a new container. It is created in the background, and events report the progress.
   *
   * @throws DomainError `invalid_parameters`, `container_limit_reached`, `name_taken`, `guest_session_expired`,
   *   `idempotency_key_reused`, `no_capacity`, `exec_not_allowed`
   */
  async create(caller: Caller, request: CreateRequest, options: CreateOptions): Promise<answer.ContainerCreatedView> {
    assertSession(caller, this.clock.now());
    const id = randomUUID();
    const { limits, ...settings } = this.specifications.resolve({ id, tier: caller.tier }, request);
    const { columns, grant } = this.leases.newLease(id, 'create');
    const now = this.clock.now();
    const row = newContainer({ id, userId: caller.userId, request, ...settings, lease: columns, now });
    const created = answer.created(row, { session: caller, tier: limits });
    const { idempotencyKey: key, onReplayed } = options;
    const once = key === undefined ? null : { key, requestHash: requestHash(request), created };
    let inserted: { readonly row: ContainerRow } | { readonly replayed: answer.ContainerCreatedView };
    try {
      const { containers: limit, pool } = limits;
      inserted = await this.insert(row, { limit, tier: caller.tier, pool, once });
    } catch (error) {
      const isNamed = (request.name ?? null) !== null;
      if (isNamed || !(error instanceof DomainError && error.kind === 'name_taken')) throw error;
      // The taken name was generated; try another.
      return this.create(caller, request, options);
    }
    if ('replayed' in inserted) {
      onReplayed?.();
      return inserted.replayed;
    }
    void this.operations.create(inserted.row, grant);
    return created;
  }

  /** @returns the inserted row; or the earlier answer under the key, and then nothing is inserted */
  private async insert(
    row: ContainerRow,
    { once, pool, ...limits }: { limit: number; tier: string; pool: string; once: KeyedCreation | null },
  ): Promise<{ readonly row: ContainerRow } | { readonly replayed: answer.ContainerCreatedView }> {
    const event = { type: 'container_created', data: containerFacts(row) } as const;
    return this.capacity.within(
      async (bounds) => {
        let placed = row;
        const insert = async (): Promise<void> => {
          placed = await this.repository.insert(row, { ...limits, event, bounds });
        };
        if (once) {
          const { key, requestHash: hash, created } = once;
          const asked = { key, requestHash: hash, isSecret: false };
          const { answer: first, isReplayed } = await this.keys.once<answer.ContainerCreatedView>(
            row.userId,
            asked,
            async (keep) => {
              await keep({ answer: created, id: row.id });
              // Last, because the insertion locks the reserved capacity, which all users share.
              await insert();
            },
          );
          return isReplayed ? { replayed: first } : { row: placed };
        }
        await insert();
        return { row: placed };
      },
      { pool },
    );
  }
}

import { Injectable } from '@nestjs/common';
import { noteProgram } from '../../audit';
import { ContainerEngine, isBuiltHere } from '../../engine';
import { DomainError, invalidParameters } from '../../errors';
import { IdempotencyKeys, type OnceOnly } from '../../idempotency';
import { CUSTOM, ImageCatalog, permits, templateImage, TemplateRepository, type TemplateRow } from '../../images';
import type { NetworkPolicy } from '../../network-policy';
import { type CatalogRole, RoleCatalog } from '../../roles';
import { type Resources, type Tier, TiersService } from '../../tiers';
import type { Caller } from '../access/container-access';
import type { CreateContainerDto } from '../dto/requests';
import type { PutTemplateDto } from '../dto/templates';
import { type ContainerRow, MIB } from '../model/container.entity';
import type { SnapshotRow } from '../model/snapshot.entity';
import { type StartCommand, startCommandOf } from '../model/start-command';
import { assertDataFits, leastDiskMb } from '../operations/data-volumes';
import { NetworkPolicies } from '../policies/network-policies';
import { environmentOf, Environments, type Variables } from '../rows/environments';
import { SnapshotRepository } from '../rows/snapshot.repository';
import { SnapshotAccess } from '../snapshots/snapshot-access';

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

/** The snapshot that a container is to be made from. */
export type SourceSnapshot = Pick<SnapshotRow, 'id' | 'nodeId' | 'image' | 'role' | 'dataBytes' | 'keptLayerMb'>;

/** What a container is to be made from, unless an image of the catalogue or of the user is all. */
interface CreationSource {
  /** The snapshot, or the template's files. */
  readonly snapshot: SourceSnapshot | null;
  readonly template: TemplateRow | null;
}

const IMAGE_ALONE: CreationSource = { snapshot: null, template: null };

/** Finds the snapshots and templates that creations name. */
@Injectable()
export class CreationSources {
  constructor(
    private readonly catalog: ImageCatalog,
    private readonly templates: TemplateRepository,
    private readonly snapshots: SnapshotRepository,
    private readonly access: SnapshotAccess,
    private readonly engine: ContainerEngine,
    private readonly keys: IdempotencyKeys,
  ) {}

  /**
   * Refuses a user's own image of which its registry says that there is none. While the registry does not answer, the
   * image may exist, and its pull decides.
   *
   * @param image its reference, which the catalogue allows
   * @param once a creation that was accepted before is not refused
   * @throws DomainError `invalid_parameters`
   */
  async assertOwnImage(image: string, { userId, once }: { userId: string; once: OnceOnly | null }): Promise<void> {
    // An image that is built on the machine is in no registry.
    if (isBuiltHere(image)) return;
    const isAbsent = await this.engine.images.isAbsent(image).catch(() => false);
    if (!isAbsent || (await this.keys.earlier(userId, once)) !== null) return;
    throw invalidParameters([{ field: 'custom_image', message: `is in no registry: ${image}` }]);
  }

  /**
   * An image of the catalogue takes precedence over a template of its name. A template that the tier does not permit is
   * as unknown as one that does not exist.
   *
   * @throws DomainError `invalid_parameters` if the user's own image is a template's; `snapshot_not_found`,
   *   `not_authorized`, `snapshot_not_ready`, `node_unavailable`
   */
  async of(caller: Caller, request: Readonly<CreateContainerDto>): Promise<CreationSource> {
    const { image, custom_image: custom, snapshot } = request;
    if (snapshot != null) return { snapshot: await this.access.findReady(caller, snapshot), template: null };
    if (custom != null) {
      if (!this.catalog.has(custom) && (await this.templates.ownsImage(custom))) {
        throw invalidParameters([
          { field: 'custom_image', message: "must not be the image of a template: give the template's name" },
        ]);
      }
      return IMAGE_ALONE;
    }
    if (image === undefined || image === CUSTOM || this.catalog.find(image) !== undefined) return IMAGE_ALONE;
    const template = await this.templates.find(image);
    if (template === null || !permits(template, caller.tier)) return IMAGE_ALONE;
    return { template, snapshot: template.filesId === null ? null : await this.filesOf(template.filesId) };
  }

  private async filesOf(id: string): Promise<SnapshotRow> {
    const files = await this.snapshots.find(id);
    // The template was replaced meanwhile.
    if (files === null) throw new DomainError('snapshot_not_found');
    this.access.assertUsable(files);
    return files;
  }
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
   * @param options.snapshot a snapshot in place of an image, or the files of the template
   * @throws DomainError `invalid_parameters`: no such image or role, variables given twice, more than the tier
   *   allows, or a network that cannot be enforced here; `exec_not_allowed`: a start command that the tier does not
   *   allow
   */
  resolve({ tier, snapshot, template }: CreationSource & { tier: string }, request: CreateRequest): Specification {
    const image = template ? template.image : this.imageOf(request, snapshot);
    const role = this.roles.resolve(request.role ?? template?.role ?? snapshot?.role ?? undefined);
    const limits = this.tiers.limitsOf(tier);
    const resources = this.sizesOf(request, { snapshot, template, limits });
    this.tiers.assertWithin(tier, resources, request);
    if (snapshot) assertDataFits(spaceOf(snapshot), resources.disk_mb);
    if (request.start) {
      this.tiers.assertExec(tier);
      noteProgram(request.start.command);
    }
    const network = this.policies.resolve(tier, request.network ?? template?.network ?? undefined);
    return {
      image,
      slotImage: slotImageOf(image, { snapshot, template }),
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
   * @param snapshot the snapshot that it is made from; null: an image
   * @throws DomainError `invalid_parameters`: no such role or tier, sizes that the files do not fit into; or none of
   *   the permitted tiers allows the sizes and the network
   */
  assertTemplate(template: Readonly<PutTemplateDto>, snapshot: SourceSnapshot | null): void {
    this.roles.resolve(template.role);
    const names = this.tiers.all().map(({ name }) => name);
    const permitted = template.tiers ?? names;
    if (!permitted.every((tier) => names.includes(tier))) {
      throw invalidParameters([{ field: 'tiers', message: `each must be one of ${names.join(', ')}` }]);
    }
    const { memory_mb: memory, cpu_shares: cpu, disk_mb: disk, network } = template;
    const sizes = { memory_mb: memory ?? undefined, cpu_shares: cpu ?? undefined, disk_mb: disk ?? undefined };
    if (snapshot && disk != null) assertDataFits(spaceOf(snapshot), disk);
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

  /** A size of a template is a default, so the tier's maximum bounds it. */
  private sizesOf(
    request: CreateRequest,
    { snapshot, template, limits }: CreationSource & { limits: Tier },
  ): Resources {
    const given = {
      memory_mb: request.memory_mb ?? atMost(template?.memoryMb, limits.max.memory_mb),
      cpu_shares: request.cpu_shares ?? atMost(template?.cpuShares, limits.max.cpu_shares),
      disk_mb: request.disk_mb ?? atMost(template?.diskMb, limits.max.disk_mb),
    };
    const disk = given.disk_mb ?? (snapshot ? diskFor(snapshot, limits.default.disk_mb) : undefined);
    return this.tiers.resolve(limits.name, { ...given, disk_mb: disk });
  }

  private imageOf({ image, custom_image: customImage }: CreateRequest, snapshot: SourceSnapshot | null): string {
    if (snapshot === null) return this.images.resolve({ image: image ?? '', customImage: customImage ?? undefined });
    const given = image !== undefined ? 'image' : customImage !== undefined ? 'custom_image' : null;
    if (given === null) return snapshot.image;
    throw invalidParameters([{ field: given, message: 'must not be combined with "snapshot", which has an image' }]);
  }
}

/** The space that the files of a snapshot need on either disk of a container: its volume or its writable layer. */
function spaceOf({ dataBytes, keptLayerMb }: SourceSnapshot): number {
  return Math.max(dataBytes, keptLayerMb * MIB);
}

/** The disk of a creation that does not say how much: at least what the snapshot needs. */
function diskFor(snapshot: SourceSnapshot, standard: number): number {
  return Math.max(standard, leastDiskMb(spaceOf(snapshot)));
}

function atMost(size: number | null | undefined, most: number): number | undefined {
  return size == null ? undefined : Math.min(size, most);
}

/** A slot has no data yet, and a snapshot is for too few containers to have slots. */
function slotImageOf(image: string, { snapshot, template }: CreationSource): string | null {
  if (template) return template.hasData ? null : templateImage(template);
  return snapshot ? null : image;
}

/** The command of a template is its administrator's, so it takes no scope and no right of the tier. */
function startOf({ start }: CreateRequest, template: TemplateRow | null): StartCommand | null {
  if (start === undefined) return (template?.start ?? null) as StartCommand | null;
  return start === null ? null : startCommandOf(start);
}

/** What ends a container, and what its next use does, as requested. A copy's lifetime counts from its own start. */
export function endsOf(row: ContainerRow) {
  const { autoStopSeconds, idleAction, autoDeleteSeconds, autoStart, lifetimeSeconds, endAction } = row;
  return {
    auto_stop_seconds: autoStopSeconds,
    idle_action: idleAction,
    auto_delete_seconds: autoDeleteSeconds,
    auto_start: autoStart,
    lifetime_seconds: lifetimeSeconds,
    end_action: endAction,
  };
}

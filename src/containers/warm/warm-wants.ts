import { Inject, Injectable } from '@nestjs/common';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { type Config, CONFIG, ConfigError, readJson, validate } from '../../config';
import { Database, readTime } from '../../database';
import { DomainError } from '../../errors';
import { ImageCatalog, templateImage, TemplateRepository, type TemplateRow } from '../../images';
import { type NetworkPolicy, networkPolicy } from '../../network-policy';
import { Clock } from '../../scheduling';
import { type Tier, TiersService } from '../../tiers';
import { ContainerEntity, MIB } from '../model/container.entity';
import { leastDiskMb } from '../operations/data-volumes';

/** What a creation asks of its container, as far as it is settled before the container is created. */
export interface WarmSettings {
  /** The image reference as given to Docker. */
  readonly image: string;
  readonly memoryMb: number;
  /** Millicores: 1000 is one CPU. */
  readonly cpuShares: number;
  readonly diskMb: number;
  /** The size, in MiB, of the layers of the image that were written in containers. */
  readonly keptLayerMb: number;
  readonly network: NetworkPolicy;
  readonly processes: number;
  /** On a cluster, the pool of nodes. */
  readonly pool: string;
}

/** Slots that are to be ready. */
export interface WarmWant {
  readonly settings: WarmSettings;
  readonly count: number;
  /** On a cluster, the names or ids of the nodes; null: all of the pool. */
  readonly nodes: readonly string[] | null;
  /** One slot of these settings is allowed however little memory the pool may use. */
  readonly isDefault: boolean;
}

/** A creation of the last hour. */
interface Creation {
  readonly settings: WarmSettings;
  readonly at: Date;
  /** The node with the files of its template; null or absent: any. */
  readonly node?: string | null;
}

/** A {@link Creation} as read. */
interface CreatedRow extends Pick<WarmSettings, 'image' | 'memoryMb' | 'cpuShares' | 'diskMb'> {
  readonly network: string;
  readonly tier: string;
  readonly template: string | null;
  readonly at: unknown;
}

const HOUR_MS = 3_600_000;
/** A creation counts half after this time. */
const HALVED_AFTER_MS = 10 * 60_000;
/** One slot for so many creations of late: refilling takes a second, in which not all of them come again. */
const CREATIONS_PER_SLOT = 4;
const MOST_OF_ONE_KEY = 10;
/** Far more than decide the result, whose counts are bounded. */
const MOST_CREATIONS = 1_000;

/** How many slots a demand of so many creations of late, each weighted by its age, calls for. */
function countFor(demand: number): number {
  return demand < 0.5 ? 0 : Math.min(MOST_OF_ONE_KEY, Math.ceil(demand / CREATIONS_PER_SLOT));
}

function keyOf({ image, memoryMb, cpuShares, diskMb, network, processes, pool }: WarmSettings): string {
  return JSON.stringify([image, memoryMb, cpuShares, diskMb, network, processes, pool]);
}

/**
 * What `WARM_POOL=auto` keeps ready: for each kind of container as many slots as its creations of the last hour call
 * for, and at least one of the usual kind. Greatest demand first.
 */
export function wantsByDemand(
  creations: readonly Creation[],
  { usual, now }: { usual: WarmSettings; now: Date },
): WarmWant[] {
  const usually = { settings: usual, demand: 0, nodes: null as readonly string[] | null, isDefault: true };
  const demands = new Map([[keyOf(usual), usually]]);
  for (const { settings, at, node = null } of creations) {
    const weight = 0.5 ** (Math.max(0, now.getTime() - at.getTime()) / HALVED_AFTER_MS);
    const same = demands.get(keyOf(settings));
    if (same) same.demand += weight;
    else
      demands.set(keyOf(settings), {
        settings,
        demand: weight,
        nodes: node === null ? null : [node],
        isDefault: false,
      });
  }
  return [...demands.values()]
    .sort((one, other) => other.demand - one.demand)
    .map(({ settings, demand, nodes, isDefault }) => ({
      settings,
      count: Math.max(isDefault ? 1 : 0, countFor(demand)),
      nodes,
      isDefault,
    }))
    .filter(({ count }) => count > 0);
}

/**
 * Reduces the counts until the slots fit into the memory. Gives each kind its first slot before any its second; the
 * first slot of the usual kind fits always.
 */
export function withinMemory(wants: readonly WarmWant[], memoryMb: number | null): WarmWant[] {
  if (memoryMb === null) return [...wants];
  const counts = wants.map(() => 0);
  let left = memoryMb;
  const usual = wants.findIndex(({ isDefault }) => isDefault);
  if (usual >= 0) {
    counts[usual] = 1;
    left -= wants[usual]?.settings.memoryMb ?? 0;
  }
  for (let round = 1; round <= Math.max(0, ...wants.map(({ count }) => count)); round += 1) {
    for (const [at, { settings, count }] of wants.entries()) {
      if ((counts[at] ?? 0) >= Math.min(round, count) || settings.memoryMb > left) continue;
      counts[at] = (counts[at] ?? 0) + 1;
      left -= settings.memoryMb;
    }
  }
  return wants.map((want, at) => ({ ...want, count: counts[at] ?? 0 })).filter(({ count }) => count > 0);
}

const amount = z.number().int().positive();

const schema = z.strictObject({
  slots: z
    .array(
      z.strictObject({
        image: z.string().min(1),
        tier: z.string().min(1),
        memory_mb: amount.optional(),
        cpu_shares: amount.optional(),
        disk_mb: amount.optional(),
        network: networkPolicy.optional(),
        count: z.number().int().min(1).max(1000),
        nodes: z.array(z.string().min(1)).min(1).optional(),
      }),
    )
    .max(1000),
});

/** An entry of the operator's file. */
type ListedSlots = z.infer<typeof schema>['slots'][number];

/** Decides which slots are to be ready: by demand, or by the operator's file. */
@Injectable()
export class WarmWants {
  private readonly listed: readonly ListedSlots[] | null;

  constructor(
    private readonly database: Database,
    private readonly catalog: ImageCatalog,
    private readonly templates: TemplateRepository,
    private readonly tiers: TiersService,
    private readonly clock: Clock,
    @Inject(CONFIG) private readonly config: Pick<Config, 'ENGINE' | 'WARM_POOL'>,
  ) {
    const { WARM_POOL: file } = config;
    this.listed = file === 'auto' || file === 'off' ? null : this.read(file);
  }

  /** Whether there are slots at all. A simulated creation takes as long as it is set to take. */
  get isOff(): boolean {
    return this.config.WARM_POOL === 'off' || this.config.ENGINE === 'simulated';
  }

  /** Whether the operator has listed the slots: then images that are missing are pulled. */
  get isListed(): boolean {
    return this.listed !== null;
  }

  /** @throws the database's error */
  async current(): Promise<readonly WarmWant[]> {
    if (this.isOff) return [];
    const templates = new Map((await this.templates.list()).map((template) => [template.name, template]));
    if (this.listed) return this.listed.flatMap((slots) => this.wantOf(slots, templates.get(slots.image)) ?? []);
    const usual = this.usual();
    const now = this.clock.now();
    const since = new Date(now.getTime() - HOUR_MS);
    return wantsByDemand(await this.creationsSince(since, templates), { usual, now });
  }

  /** The settings of a creation that asks for nothing but an image, on most tiers. */
  private usual(): WarmSettings {
    const each = this.tiers.all().map((tier) => this.settingsOf({ image: this.catalog.default.reference, tier }));
    const alike = (settings: WarmSettings): number => each.filter((one) => isDeepStrictEqual(one, settings)).length;
    const [most] = each.sort((one, other) => alike(other) - alike(one));
    if (!most) throw new Error('there is a tier');
    return most;
  }

  private settingsOf({ image, tier }: { image: string; tier: Tier }): WarmSettings {
    return {
      image,
      memoryMb: tier.default.memory_mb,
      cpuShares: tier.default.cpu_shares,
      diskMb: tier.default.disk_mb,
      keptLayerMb: 0,
      network: tier.network,
      processes: tier.processes,
      pool: tier.pool,
    };
  }

  private async creationsSince(since: Date, templates: ReadonlyMap<string, TemplateRow>): Promise<Creation[]> {
    const rows = await this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .withDeleted()
      .innerJoin('users', 'u', 'u.id = c.userId')
      .select(['c.image AS image', 'c.network AS network', 'u.tier AS tier'])
      .addSelect('c.memory_mb', 'memoryMb')
      .addSelect('c.cpu_shares', 'cpuShares')
      .addSelect('c.disk_mb', 'diskMb')
      .addSelect('c.template_name', 'template')
      .addSelect('c.created_at', 'at')
      .where('c.createdAt > :since', { since: this.database.timestamp(since) })
      .orderBy('c.createdAt', 'DESC')
      .limit(MOST_CREATIONS)
      .getRawMany<CreatedRow>();
    return rows.flatMap(
      ({ image: created, network: policy, tier, template: name, at, memoryMb, cpuShares, diskMb }) => {
        const template = name === null ? null : templates.get(name);
        // The next creation will be from the present version of the template.
        if (!this.tiers.has(tier) || template === undefined || template?.hasData === true) return [];
        const { processes, pool } = this.tiers.limitsOf(tier);
        const image = template ? templateImage(template) : created;
        const network = JSON.parse(policy) as NetworkPolicy;
        const keptLayerMb = template?.keptLayerMb ?? 0;
        const settings = { image, memoryMb, cpuShares, diskMb, keptLayerMb, network, processes, pool };
        return [{ settings, at: readTime(at) ?? since, node: template?.nodeId ?? null }];
      },
    );
  }

  /** @throws ConfigError */
  private read(file: string): ListedSlots[] {
    const from = { setting: 'WARM_POOL', file } as const;
    const { slots } = validate(schema, readJson(from), { ...from, what: 'slots' });
    for (const [at, slot] of slots.entries()) {
      try {
        this.listedWant(slot);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        throw new ConfigError(`WARM_POOL: the slots in ${file} are not valid:\n  slots.${String(at)}: ${reason}`);
      }
    }
    return slots;
  }

  /** @returns null if no creation from this template can take a slot: it has data, or the tier refuses its network */
  private wantOf(slots: ListedSlots, template: TemplateRow | undefined): WarmWant | null {
    if (template === undefined) return this.listedWant(slots);
    if (template.hasData) return null;
    const { default: usual, max } = this.tiers.limitsOf(slots.tier);
    const { memoryMb, cpuShares, diskMb, keptLayerMb, nodeId } = template;
    const leastDisk = Math.max(usual.disk_mb, keptLayerMb > 0 ? leastDiskMb(keptLayerMb * MIB) : 0);
    const sizes = {
      memory_mb: slots.memory_mb ?? Math.min(memoryMb ?? usual.memory_mb, max.memory_mb),
      cpu_shares: slots.cpu_shares ?? Math.min(cpuShares ?? usual.cpu_shares, max.cpu_shares),
      disk_mb: slots.disk_mb ?? (diskMb === null ? leastDisk : Math.min(diskMb, max.disk_mb)),
    };
    const network = slots.network ?? template.network ?? undefined;
    try {
      const want = this.listedWant({ ...slots, ...sizes, network });
      const settings = { ...want.settings, image: templateImage(template), keptLayerMb };
      return { ...want, settings, nodes: nodeId === null ? want.nodes : [nodeId] };
    } catch (error) {
      if (error instanceof DomainError) return null;
      throw error;
    }
  }

  /** @throws Error, DomainError if the tier does not exist or does not allow that */
  private listedWant(slots: ListedSlots): WarmWant {
    const tier = this.tiers.limitsOf(slots.tier);
    const resources = this.tiers.resolve(slots.tier, slots);
    this.tiers.assertWithin(slots.tier, resources);
    const image = this.catalog.find(slots.image)?.reference ?? slots.image;
    const { memory_mb: memoryMb, cpu_shares: cpuShares, disk_mb: diskMb } = resources;
    const settings = { ...this.settingsOf({ image, tier }), memoryMb, cpuShares, diskMb };
    const policy = this.tiers.networkOf(slots.tier, slots.network);
    const nodes = slots.nodes ?? null;
    return { settings: { ...settings, network: policy }, count: slots.count, nodes, isDefault: false };
  }
}

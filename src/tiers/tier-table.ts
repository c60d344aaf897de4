import { ApiProperty } from '@nestjs/swagger';
import type { NetworkPolicy } from '../network-policy';

/** The fields of {@link Resources}, in the order in which they are reported. */
export const RESOURCE_FIELDS = ['memory_mb', 'cpu_shares', 'disk_mb'] as const;

/** The bounds of every amount, regardless of the tier: a positive number that fits the database's integer columns. */
export const RESOURCE_BOUNDS = { type: 'integer', minimum: 1, maximum: 2 ** 31 - 1 } as const;

/** The resource limits of a container. */
export class Resources {
  @ApiProperty({ ...RESOURCE_BOUNDS, example: 2048, description: 'MiB.' })
  readonly memory_mb: number;
  @ApiProperty({ ...RESOURCE_BOUNDS, example: 1000, description: 'Millicores; 1000 is one CPU.' })
  readonly cpu_shares: number;
  @ApiProperty({ ...RESOURCE_BOUNDS, example: 10_240, description: 'MiB.' })
  readonly disk_mb: number;
}

/** The resources of a container whose creation does not specify them, on every tier that allows that much. */
export const DEFAULT_RESOURCES: Resources = { memory_mb: 1024, cpu_shares: 1000, disk_mb: 10_240 };

/** Requested resources; the tier's defaults apply to absent ones. */
export type RequestedResources = { readonly [F in keyof Resources]?: number | undefined };

/** The bounds of `auto_stop_seconds` and `auto_delete_seconds`, for tiers and for containers. */
export const AUTO_END_SECONDS = { min: 60, max: 10 * 366 * 24 * 3600 } as const;

/**
 * What happens to an idle container, from the least that it keeps to the most: `pause_then_stop` stops a paused
 * container once it has been paused for as long as it was idle before.
 */
export const IDLE_ACTIONS = ['stop', 'pause_then_stop', 'pause'] as const;
export type IdleAction = (typeof IDLE_ACTIONS)[number];

/** Whether an action keeps a container's memory for longer than another one does. */
export function keepsMore(action: IdleAction, than: IdleAction): boolean {
  return IDLE_ACTIONS.indexOf(action) > IDLE_ACTIONS.indexOf(than);
}

/** What happens to an unused container, and after how many seconds; absent or null: as the tier says. */
export interface RequestedEnds {
  readonly auto_stop_seconds?: number | null | undefined;
  readonly idle_action?: IdleAction | null | undefined;
  readonly auto_delete_seconds?: number | null | undefined;
}

/** The limits of a tier's users. */
export interface Tier {
  readonly name: string;
  readonly containers: number;
  readonly min: Resources;
  readonly max: Resources;
  /** The resources of a creation that does not specify them. */
  readonly default: Resources;
  /** The maximum number of processes and threads of a container. */
  readonly processes: number;
  /** The widest network policy that a container may have, and the policy of containers that request none. */
  readonly network: NetworkPolicy;
  /** The maximum duration of a session or run; null: unlimited. */
  readonly sessionSeconds: number | null;
  /**
   * true: a user has one session, which begins when the user joins the tier; false: each run of a container has its
   * own.
   */
  readonly sessionOnce: boolean;
  /** Seconds without use after which a container is idle, unless it requests fewer; null: never by the tier. */
  readonly autoStopSeconds: number | null;
  /**
   * What happens to idle containers that request nothing else; the most that they may request with `autoStopSeconds`.
   */
  readonly idleAction: IdleAction;
  /**
   * Seconds after its stop or last use at which a stopped container is deleted, unless it requests fewer; null: never
   * by the tier.
   */
  readonly autoDeleteSeconds: number | null;
  readonly agents: number;
  /** The maximum number of snapshots, and their size together in MiB. */
  readonly snapshots: number;
  readonly snapshotMb: number;
  readonly webhooks: number;
  /** Whether users may run anything in their containers: commands, terminals, files. */
  readonly exec: boolean;
  /** Whether users may let everybody see a port of their containers. */
  readonly publicPreviews: boolean;
  /** The maximum number of open requests and WebSockets of previews of a user's containers, in each process. */
  readonly previewConnections: number;
  /** How many KiB pass through previews of a user's containers each second, in each process; null: no limit. */
  readonly previewKibPerSecond: number | null;
  /** In a cluster, the pool of nodes that the tier's containers are placed on. */
  readonly pool: string;
}

export type TierTable = ReadonlyMap<string, Tier>;

/** The table as an operator writes it in `TIERS_FILE`. */
interface TierFile {
  readonly minimum: Resources;
  readonly tiers: Readonly<
    Record<
      string,
      Resources & {
        readonly containers: number;
        /** Default: {@link DEFAULT_PROCESSES}. */
        readonly processes?: number;
        /** Default: `internet`. */
        readonly network?: NetworkPolicy;
        /** A duration such as `50h`. */
        readonly session: string | null;
        readonly session_once: boolean;
        /** Default: null, also for the next. */
        readonly auto_stop_seconds?: number | null;
        readonly auto_delete_seconds?: number | null;
        /** Default: `stop`. */
        readonly idle_action?: IdleAction;
        readonly agents: number;
        /** Default: none for guests; for others the number of containers, and the disk space of so many. */
        readonly snapshots?: number;
        readonly snapshot_mb?: number;
        /** Default: none for guests; for others the number of containers. */
        readonly webhooks?: number;
        /** Default: true. */
        readonly exec?: boolean;
        /** Default: true, except for guests. */
        readonly public_previews?: boolean;
        /** Default: {@link DEFAULT_PREVIEW_CONNECTIONS}. */
        readonly preview_connections?: number;
        /** Default: no limit. */
        readonly preview_kib_per_second?: number | null;
        /** Default: {@link DEFAULT_POOL}. */
        readonly pool?: string;
      }
    >
  >;
}

/** The pool of nodes without a pool label, and of tiers that name no pool. */
export const DEFAULT_POOL = 'default';

/** The processes of a container whose tier sets no limit. */
export const DEFAULT_PROCESSES = 1024;

/** Open requests and WebSockets of previews of a user whose tier sets no limit: enough for some open browsers. */
export const DEFAULT_PREVIEW_CONNECTIONS = 200;

/** The tiers if the operator provides no file. */
export const DEFAULT_TIERS: TierFile = {
  minimum: { memory_mb: 256, cpu_shares: 250, disk_mb: 1024 },
  tiers: {
    guest: {
      containers: 1,
      memory_mb: 512,
      cpu_shares: 500,
      disk_mb: 2048,
      session: '50h',
      session_once: true,
      agents: 0,
    },
    free: {
      containers: 5,
      memory_mb: 2048,
      cpu_shares: 2000,
      disk_mb: 10240,
      session: '50h',
      session_once: false,
      agents: 5,
    },
    pro: {
      containers: 10,
      memory_mb: 4096,
      cpu_shares: 4000,
      disk_mb: 20480,
      session: null,
      session_once: false,
      agents: 10,
    },
    enterprise: {
      containers: 25,
      memory_mb: 8192,
      cpu_shares: 8000,
      disk_mb: 51200,
      session: null,
      session_once: false,
      agents: 25,
    },
  },
};

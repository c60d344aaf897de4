import { ApiProperty } from '@nestjs/swagger';
import type { NetworkPolicy } from '../network-policy';

/** The fields of {@link Resources}, in the order in which they are reported. */
export const RESOURCE_FIELDS = ['memory_mb', 'cpu_shares', 'disk_mb'] as const;

/** What any amount may be, whatever the tier: a positive number that every database has room for. */
export const RESOURCE_BOUNDS = { type: 'integer', minimum: 1, maximum: 2 ** 31 - 1 } as const;

/** What a container may use. */
export class Resources {
  @ApiProperty({ ...RESOURCE_BOUNDS, example: 2048, description: 'MiB.' })
  readonly memory_mb: number;
  @ApiProperty({ ...RESOURCE_BOUNDS, example: 1000, description: 'Millicores: 1000 is one CPU.' })
  readonly cpu_shares: number;
  @ApiProperty({ ...RESOURCE_BOUNDS, example: 10_240, description: 'MiB.' })
  readonly disk_mb: number;
}

/** What a container gets if its creator does not say, on every tier that allows so much. */
export const DEFAULT_RESOURCES: Resources = { memory_mb: 1024, cpu_shares: 1000, disk_mb: 10_240 };

/** Resources of which some are left to the tier. */
export type RequestedResources = { readonly [F in keyof Resources]?: number | undefined };

/** The bounds of `auto_stop_seconds` and `auto_delete_seconds`, of a tier and of a container. */
export const AUTO_END_SECONDS = { min: 60, max: 10 * 366 * 24 * 3600 } as const;

/** After how many seconds an abandoned container is stopped, and deleted; absent or null: as its tier has it. */
export interface RequestedEnds {
  readonly auto_stop_seconds?: number | null | undefined;
  readonly auto_delete_seconds?: number | null | undefined;
}

/** What users of a tier may have. */
export interface Tier {
  readonly name: string;
  /** How many containers at once. */
  readonly containers: number;
  readonly min: Resources;
  readonly max: Resources;
  /** What a creation gets for the amounts that it leaves out. */
  readonly default: Resources;
  /** How many processes and threads a container may have. */
  readonly processes: number;
  /** The widest network that a container may have, and that of those whose owner asks for none. */
  readonly network: NetworkPolicy;
  /** How long a session or run may last; null: as long as it likes. */
  readonly sessionSeconds: number | null;
  /** true: the session begins with the user and happens once; false: each run of a container has its own. */
  readonly sessionOnce: boolean;
  /** After how many seconds without use a container is stopped, unless it asks for fewer; null: never by the tier. */
  readonly autoStopSeconds: number | null;
  /** The same of the deletion of one that is stopped, since its stop or last use. */
  readonly autoDeleteSeconds: number | null;
  /** How many agents. */
  readonly agents: number;
  /** Whether they may run anything in their containers: commands, terminals, files. */
  readonly exec: boolean;
  /** Of several machines, those that its containers are placed on. */
  readonly pool: string;
}

export type TierTable = ReadonlyMap<string, Tier>;

/** The table as an operator writes it in `TIERS_FILE`. */
export interface TierFile {
  readonly minimum: Resources;
  readonly tiers: Readonly<
    Record<
      string,
      Resources & {
        readonly containers: number;
        /** {@link DEFAULT_PROCESSES} if absent. */
        readonly processes?: number;
        /** `internet` if absent. */
        readonly network?: NetworkPolicy;
        /** A duration such as `50h`. */
        readonly session: string | null;
        readonly session_once: boolean;
        /** null if absent, as the next. */
        readonly auto_stop_seconds?: number | null;
        readonly auto_delete_seconds?: number | null;
        readonly agents: number;
        /** true if absent. */
        readonly exec?: boolean;
        /** {@link DEFAULT_POOL} if absent. */
        readonly pool?: string;
      }
    >
  >;
}

/** Of nodes without a label, and of tiers that name none. */
export const DEFAULT_POOL = 'default';

/** Processes of a container where its tier says nothing. */
export const DEFAULT_PROCESSES = 1024;

/** The tiers where the operator gives no file. */
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

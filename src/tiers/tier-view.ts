import { ApiProperty } from '@nestjs/swagger';
import { type NetworkPolicy, NETWORK_POLICY_SCHEMA } from '../network-policy';
import { IDLE_ACTIONS, type IdleAction, Resources, type Tier } from './tier-table';

/** The limits of a tier. */
export class LimitsView {
  @ApiProperty({ type: 'integer', minimum: 0, example: 5 })
  readonly containers: number;
  @ApiProperty({ type: Resources })
  readonly min: Resources;
  @ApiProperty({ type: Resources })
  readonly max: Resources;
  @ApiProperty({ type: Resources, description: 'Resources of a creation that gives none.' })
  readonly default: Resources;
  @ApiProperty({
    type: 'integer',
    minimum: 1,
    example: 1024,
    description:
      'Processes and threads of a container; a change applies when a container is recreated. Under gVisor, the ' +
      'limit applies to each user id in the container, and there are at most three per 4 MiB of memory.',
  })
  readonly processes: number;
  @ApiProperty({
    ...NETWORK_POLICY_SCHEMA,
    description: 'Least restricted network of a container, and the default. `none` is always allowed.',
  })
  readonly network: NetworkPolicy;
  @ApiProperty({
    type: Number,
    nullable: true,
    minimum: 1,
    example: 180_000,
    description: 'Maximum duration of a session or run; null if unlimited.',
  })
  readonly session_seconds: number | null;
  @ApiProperty({ description: 'True if there is one session per user; false if each run of a container has its own.' })
  readonly session_once: boolean;
  @ApiProperty({
    type: Number,
    nullable: true,
    minimum: 0,
    example: null,
    description: 'Maximum and default number of seconds of inactivity until a container is idle; null if unlimited.',
  })
  readonly auto_stop_seconds: number | null;
  @ApiProperty({
    enum: IDLE_ACTIONS,
    enumName: 'IdleAction',
    example: 'stop',
    description:
      'Default action for idle containers. If auto_stop_seconds is set, containers can choose this or an earlier ' +
      'value of the enum.',
  })
  readonly idle_action: IdleAction;
  @ApiProperty({
    type: Number,
    nullable: true,
    minimum: 0,
    example: null,
    description: 'Maximum and default number of seconds until a stopped container is deleted; null if unlimited.',
  })
  readonly auto_delete_seconds: number | null;
  @ApiProperty({ type: 'integer', minimum: 0, example: 5 })
  readonly agents: number;
  @ApiProperty({ type: 'integer', minimum: 0, example: 5 })
  readonly snapshots: number;
  @ApiProperty({ type: 'integer', minimum: 0, example: 51_200, description: 'MiB: maximum total size of snapshots.' })
  readonly snapshot_mb: number;
  @ApiProperty({ type: 'integer', minimum: 0, example: 5 })
  readonly webhooks: number;
  @ApiProperty({
    example: true,
    description:
      'True if containers can be accessed: commands, processes, terminals, files and statistics, with the scope ' +
      '`exec`.',
  })
  readonly exec: boolean;
  @ApiProperty({ example: true, description: 'True if ports can be `public`, which everyone can access.' })
  readonly public_previews: boolean;
  @ApiProperty({
    type: 'integer',
    minimum: 0,
    example: 200,
    description: 'Maximum number of open requests and WebSockets of previews, over all containers.',
  })
  readonly preview_connections: number;
  @ApiProperty({
    type: 'integer',
    nullable: true,
    minimum: 1,
    example: null,
    description: 'Maximum KiB per second through previews, over all containers; null if unlimited.',
  })
  readonly preview_kib_per_second: number | null;
}

class TierView extends LimitsView {
  @ApiProperty({ example: 'free' })
  readonly name: string;
}

/** The response of `GET /api/tiers`. */
export class TierListView {
  @ApiProperty({ type: [TierView] })
  readonly tiers: TierView[];
}

export function viewLimits(tier: Tier): LimitsView {
  return {
    containers: tier.containers,
    min: tier.min,
    max: tier.max,
    default: tier.default,
    processes: tier.processes,
    network: tier.network,
    session_seconds: tier.sessionSeconds,
    session_once: tier.sessionOnce,
    auto_stop_seconds: tier.autoStopSeconds,
    idle_action: tier.idleAction,
    auto_delete_seconds: tier.autoDeleteSeconds,
    agents: tier.agents,
    snapshots: tier.snapshots,
    snapshot_mb: tier.snapshotMb,
    webhooks: tier.webhooks,
    exec: tier.exec,
    public_previews: tier.publicPreviews,
    preview_connections: tier.previewConnections,
    preview_kib_per_second: tier.previewKibPerSecond,
  };
}

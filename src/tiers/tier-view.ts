import { ApiProperty } from '@nestjs/swagger';
import { Amount, Choice, Count, Flag, Text } from '../api-fields';
import { type NetworkPolicy, NETWORK_POLICY_SCHEMA } from '../network-policy';
import { IDLE_ACTIONS, type IdleAction, Resources, type Tier } from './tier-table';

/** The limits of a tier. */
export class LimitsView {
  @Count({ example: 5 }) readonly containers: number;
  @ApiProperty({ type: Resources })
  readonly min: Resources;
  @ApiProperty({ type: Resources }) readonly max: Resources;
  @ApiProperty({ type: Resources, description: 'Resources of a creation that gives none.' })
  readonly default: Resources;
  @Count(
    'Processes and threads of a container; a change applies when a container is recreated. Under gVisor, the ' +
      'limit applies to each user id in the container, and there are at most three per 4 MiB of memory.',
    { minimum: 1, example: 1024 },
  )
  readonly processes: number;
  @ApiProperty({
    ...NETWORK_POLICY_SCHEMA,
    description: 'Least restricted network of a container, and the default. `none` is always allowed.',
  })
  readonly network: NetworkPolicy;
  @Amount('Maximum duration of a session or run; null if unlimited.', { nullable: true, minimum: 1, example: 180_000 })
  readonly session_seconds: number | null;
  @Flag('True if there is one session per user; false if each run of a container has its own.')
  readonly session_once: boolean;
  @Amount('Maximum and default number of seconds of inactivity until a container is idle; null if unlimited.', {
    nullable: true,
    example: null,
  })
  readonly auto_stop_seconds: number | null;
  @Choice(
    IDLE_ACTIONS,
    'Default action for idle containers. If auto_stop_seconds is set, containers can choose this or an earlier ' +
      'value of the enum.',
    { enumName: 'IdleAction', example: 'stop' },
  )
  readonly idle_action: IdleAction;
  @Amount('Maximum and default number of seconds until a stopped container is deleted; null if unlimited.', {
    nullable: true,
    example: null,
  })
  readonly auto_delete_seconds: number | null;
  @Count({ example: 5 }) readonly agents: number;
  @Count({ example: 5 }) readonly snapshots: number;
  @Count('MiB: maximum total size of snapshots.', { example: 51_200 })
  readonly snapshot_mb: number;
  @Count({ example: 5 }) readonly webhooks: number;
  @Flag(
    'True if containers can be accessed: commands, processes, terminals, files and statistics, with the scope ' +
      '`exec`.',
    { example: true },
  )
  readonly exec: boolean;
  @Flag('True if ports can be `public`, which everyone can access.', { example: true })
  readonly public_previews: boolean;
  @Count('Maximum number of open requests and WebSockets of previews, over all containers.', { example: 200 })
  readonly preview_connections: number;
  @Count('Maximum KiB per second through previews, over all containers; null if unlimited.', {
    nullable: true,
    minimum: 1,
    example: null,
  })
  readonly preview_kib_per_second: number | null;
}

class TierView extends LimitsView {
  @Text({ example: 'free' }) readonly name: string;
}

/** The response of `GET /api/tiers`. */
export class TierListView {
  @ApiProperty({ type: [TierView] }) readonly tiers: TierView[];
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

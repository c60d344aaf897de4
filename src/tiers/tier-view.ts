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
  @ApiProperty({
    type: Resources,
    description: 'What a creation gets for the amounts that it leaves out.',
  })
  readonly default: Resources;
  @ApiProperty({
    type: 'integer',
    minimum: 1,
    example: 1024,
    description:
      'Processes and threads of a container, from its next creation on. Under gVisor each of its user ids may have so ' +
      'many, and three for each 4 MiB of its memory at most.',
  })
  readonly processes: number;
  @ApiProperty({
    ...NETWORK_POLICY_SCHEMA,
    description:
      'The widest network of a container, and that of one whose owner asks for none; `none` is always possible.',
  })
  readonly network: NetworkPolicy;
  @ApiProperty({
    type: Number,
    nullable: true,
    minimum: 1,
    example: 180_000,
    description: 'How long a session or run may last; null: no limit.',
  })
  readonly session_seconds: number | null;
  @ApiProperty({ description: 'Whether the session happens once, or each run of a container has its own.' })
  readonly session_once: boolean;
  @ApiProperty({
    type: Number,
    nullable: true,
    minimum: 0,
    example: null,
    description: 'Seconds without use after which a container is idle, if it does not ask for fewer; null: no limit.',
  })
  readonly auto_stop_seconds: number | null;
  @ApiProperty({
    enum: IDLE_ACTIONS,
    enumName: 'IdleAction',
    example: 'stop',
    description:
      'What happens to an idle container that asks for nothing else. Where auto_stop_seconds is set, a container may ' +
      'ask for this or for what comes before it in the order of the enum.',
  })
  readonly idle_action: IdleAction;
  @ApiProperty({
    type: Number,
    nullable: true,
    minimum: 0,
    example: null,
    description: 'Seconds after which a container that stays stopped is deleted, if it does not ask for fewer.',
  })
  readonly auto_delete_seconds: number | null;
  @ApiProperty({ type: 'integer', minimum: 0, example: 5 })
  readonly agents: number;
  @ApiProperty({ type: 'integer', minimum: 0, example: 5 })
  readonly snapshots: number;
  @ApiProperty({ type: 'integer', minimum: 0, example: 51_200, description: 'MiB of all snapshots together.' })
  readonly snapshot_mb: number;
  @ApiProperty({
    example: true,
    description:
      'Whether what is in containers can be reached: commands, processes, terminals, files and statistics, with a ' +
      'token of the scope `exec`.',
  })
  readonly exec: boolean;
  @ApiProperty({ example: true, description: 'Whether a port can be `public`: everybody may see it.' })
  readonly public_previews: boolean;
  @ApiProperty({
    type: 'integer',
    minimum: 0,
    example: 200,
    description: 'Open requests and WebSockets of previews of all containers together.',
  })
  readonly preview_connections: number;
  @ApiProperty({
    type: 'integer',
    nullable: true,
    minimum: 1,
    example: null,
    description: 'KiB that pass through previews of all containers each second; null: no limit.',
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
    exec: tier.exec,
    public_previews: tier.publicPreviews,
    preview_connections: tier.previewConnections,
    preview_kib_per_second: tier.previewKibPerSecond,
  };
}

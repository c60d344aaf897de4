import { ApiProperty } from '@nestjs/swagger';
import { IsString, Matches } from 'class-validator';
import { RunEndView } from '../access/run-streams';

class CpuStatsView {
  @ApiProperty({
    type: Number,
    nullable: true,
    minimum: 0,
    example: 42.5,
    description: 'Of what the container may use, on average since the look before; a little over 100 at times.',
  })
  readonly percent_of_limit: number | null;
  @ApiProperty({
    minimum: 0,
    maximum: 100,
    example: 0,
    description: 'In how many of its periods of 100 ms since then it was held back.',
  })
  readonly throttled_percent: number;
}

class MemoryStatsView {
  @ApiProperty({
    type: 'integer',
    minimum: 0,
    example: 67_108_864,
    description: "Without file cache that is free to go; under gVisor with gVisor's own, some 15 MiB.",
  })
  readonly used_bytes: number;
  @ApiProperty({ type: 'integer', nullable: true, minimum: 0, example: 536_870_912 })
  readonly limit_bytes: number | null;
}

class NetworkStatsView {
  @ApiProperty({ type: 'integer', minimum: 0, example: 1_234, description: "Received since the container's start." })
  readonly rx_bytes: number;
  @ApiProperty({ type: 'integer', minimum: 0, example: 567, description: 'Sent since then.' })
  readonly tx_bytes: number;
}

/** Answer of `GET /api/containers/:id/stats`, and the `data` of its event `stats`. */
export class StatsView {
  @ApiProperty({ format: 'date-time' })
  readonly at: string;
  @ApiProperty({ type: CpuStatsView })
  readonly cpu: CpuStatsView;
  @ApiProperty({ type: MemoryStatsView })
  readonly memory: MemoryStatsView;
  @ApiProperty({
    type: 'integer',
    nullable: true,
    minimum: 0,
    example: null,
    description: 'Processes and threads. null under gVisor, where only its own threads can be counted from outside.',
  })
  readonly pids: number | null;
  @ApiProperty({ type: NetworkStatsView, nullable: true, description: 'null without a network.' })
  readonly network: NetworkStatsView | null;
  @ApiProperty({
    type: 'integer',
    nullable: true,
    minimum: 0,
    example: null,
    description:
      'What /home/user takes on the disk. Measured inside the container about once a minute while its own stream of statistics ' +
      'is followed, at first after some seconds; null if it is not known.',
  })
  readonly disk_used_bytes: number | null;
}

/** Why a stream of statistics ends; the `data` of the event `end`. */
export class StatsEndView extends RunEndView {}

/** The `data` of the event `stats` of `GET /api/stats/stream`. */
export class ContainerStatsView extends StatsView {
  @ApiProperty({ format: 'uuid', description: 'The database id of the container.' })
  readonly db_id: string;
}

const STREAM_ENDS = ['token_ended', 'exec_not_allowed', 'server_stopped'] as const;

/** Why a stream of several containers' statistics ends; the `data` of its event `end`. */
export class StatsStreamEndView {
  @ApiProperty({ enum: STREAM_ENDS, example: 'server_stopped' })
  readonly reason: (typeof STREAM_ENDS)[number];
}

/** 1 to 50 UUIDs, separated by commas. */
const IDS =
  /^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?:,[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}){0,49}$/;

/** Query of `GET /api/stats/stream`. */
export class FollowStatsDto {
  @ApiProperty({
    example: '3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11',
    description: 'Database ids, separated by commas; at most 50.',
  })
  @Matches(IDS, { message: 'ids must be 1 to 50 database ids, separated by commas' })
  @IsString()
  ids: string;
}

/** The resource use of a container during the 30 seconds before `at`. */
export class StatsSampleView {
  @ApiProperty({ format: 'date-time' })
  readonly at: string;
  @ApiProperty({ type: Number, nullable: true, minimum: 0, example: 12.5, description: 'null without a limit.' })
  readonly cpu_percent_of_limit: number | null;
  @ApiProperty({ type: 'integer', minimum: 0, example: 67_108_864, description: 'At the end of the interval.' })
  readonly memory_used_bytes: number;
  @ApiProperty({ type: 'integer', nullable: true, minimum: 0, example: 536_870_912 })
  readonly memory_limit_bytes: number | null;
  @ApiProperty({
    type: 'integer',
    nullable: true,
    minimum: 0,
    example: null,
    description: 'Of /home/user. Only known while the statistics of the container are followed; null otherwise.',
  })
  readonly disk_used_bytes: number | null;
  @ApiProperty({ type: Number, nullable: true, minimum: 0, example: 310.4, description: 'null without a network.' })
  readonly rx_bytes_per_second: number | null;
  @ApiProperty({ type: Number, nullable: true, minimum: 0, example: 95.1, description: 'null without a network.' })
  readonly tx_bytes_per_second: number | null;
}

/** Answer of `GET /api/containers/:id/stats/history`. */
export class StatsHistoryView {
  @ApiProperty({ type: 'integer', minimum: 1, example: 30 })
  readonly interval_seconds: number;
  @ApiProperty({ type: [StatsSampleView], description: 'Oldest first; gaps while the container does not run.' })
  readonly samples: readonly StatsSampleView[];
}

import { ApiProperty } from '@nestjs/swagger';
import { IsString, Matches } from 'class-validator';
import { Amount, Choice, Count, Text, Timestamp, Uuid } from '../../api-fields';
import { RunEndView } from '../access/run-streams';

class CpuStatsView {
  @Amount('Average share of the CPU limit since the previous measurement; may slightly exceed 100.', {
    nullable: true,
    example: 42.5,
  })
  readonly percent_of_limit: number | null;
  @Amount('Percentage of 100 ms periods in which the CPU was throttled, since the previous measurement.', {
    maximum: 100,
    example: 0,
  })
  readonly throttled_percent: number;
}

class MemoryStatsView {
  @Count('Without reclaimable file cache. Under gVisor, includes about 15 MiB of its own.', { example: 67_108_864 })
  readonly used_bytes: number;
  @Count({ nullable: true, example: 536_870_912 })
  readonly limit_bytes: number | null;
}

class NetworkStatsView {
  @Count('Bytes received since the container started.', { example: 1_234 })
  readonly rx_bytes: number;
  @Count('Bytes sent since the container started.', { example: 567 })
  readonly tx_bytes: number;
}

/** Answer of `GET /api/containers/:id/stats`, and the `data` of its event `stats`. */
export class StatsView {
  @Timestamp() readonly at: string;
  @ApiProperty({ type: CpuStatsView })
  readonly cpu: CpuStatsView;
  @ApiProperty({ type: MemoryStatsView }) readonly memory: MemoryStatsView;
  @Count('Processes and threads. Null under gVisor, where they cannot be counted from outside.', {
    nullable: true,
    example: null,
  })
  readonly pids: number | null;
  @ApiProperty({ type: NetworkStatsView, nullable: true, description: 'Null without a network.' })
  readonly network: NetworkStatsView | null;
  @Count(
    'Disk space used by /home/user. Measured about once a minute, only while the statistics of this container ' +
      'are streamed, with a first value after a few seconds. Null if unknown.',
    { nullable: true, example: null },
  )
  readonly disk_used_bytes: number | null;
}

/** Why a stream of statistics ends; the `data` of the event `end`. */
export class StatsEndView extends RunEndView {}

/** The `data` of the event `stats` of `GET /api/stats/stream`. */
export class ContainerStatsView extends StatsView {
  @Uuid('Database id of the container.') readonly db_id: string;
}

const STREAM_ENDS = ['token_ended', 'exec_not_allowed', 'server_stopped'] as const;

/** Why a stream of several containers' statistics ends; the `data` of its event `end`. */
export class StatsStreamEndView {
  @Choice(STREAM_ENDS, { example: 'server_stopped' })
  readonly reason: (typeof STREAM_ENDS)[number];
}

/** 1 to 50 UUIDs, separated by commas. */
const IDS =
  /^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?:,[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}){0,49}$/;

/** Query of `GET /api/stats/stream`. */
export class FollowStatsDto {
  @Text('Database ids, separated by commas; at most 50.', { example: '3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11' })
  @Matches(IDS, { message: 'ids must be 1 to 50 database ids, separated by commas' })
  @IsString()
  ids: string;
}

/** The resource use of a container during the 30 seconds before `at`. */
export class StatsSampleView {
  @Timestamp() readonly at: string;
  @Amount('Null without a limit.', { nullable: true, example: 12.5 })
  readonly cpu_percent_of_limit: number | null;
  @Count('At the end of the interval.', { example: 67_108_864 })
  readonly memory_used_bytes: number;
  @Count({ nullable: true, example: 536_870_912 })
  readonly memory_limit_bytes: number | null;
  @Count(
    'Disk space used by /home/user. Known only while the statistics of the container are streamed; null otherwise.',
    { nullable: true, example: null },
  )
  readonly disk_used_bytes: number | null;
  @Amount('Null without a network.', { nullable: true, example: 310.4 })
  readonly rx_bytes_per_second: number | null;
  @Amount('Null without a network.', { nullable: true, example: 95.1 })
  readonly tx_bytes_per_second: number | null;
}

/** Answer of `GET /api/containers/:id/stats/history`. */
export class StatsHistoryView {
  @Count({ minimum: 1, example: 30 }) readonly interval_seconds: number;
  @ApiProperty({ type: [StatsSampleView], description: 'Oldest first; with gaps while the container is not running.' })
  readonly samples: readonly StatsSampleView[];
}

import { ApiProperty } from '@nestjs/swagger';
import { RunEndView } from '../run-streams';

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
}

/** Why a stream of statistics ends; the `data` of the event `end`. */
export class StatsEndView extends RunEndView {}

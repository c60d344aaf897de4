import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { EVENT_SCHEMA } from '../event-schemas';
import type { BerthEvent, NodeFacts, ProcessFacts } from '../map';

/** The answer of `GET /api/events`. */
export class EventListView {
  @ApiProperty({
    type: 'array',
    items: EVENT_SCHEMA,
    description: 'In order of seq. Ignore unknown types: later versions may add some.',
  })
  readonly events: readonly BerthEvent[];
  @ApiProperty({ type: 'integer', minimum: 0, example: 41, description: 'Value of "after" for the next page.' })
  readonly next: number;
  @ApiPropertyOptional({
    enum: [true],
    description:
      'Present only if events after "after" are no longer stored, or "after" is ahead of all events. List the ' +
      'containers again, then continue from next.',
  })
  readonly resync_required?: true;
}

/** A kept process of a container, as in events. */
export class ProcessFactsView implements ProcessFacts {
  @ApiProperty({ format: 'uuid' })
  readonly id: string;
  @ApiProperty({ format: 'uuid', description: 'Database id of the container.' })
  readonly container_id: string;
  @ApiProperty({ example: 'node', description: 'Program name, without arguments.' })
  readonly program: string;
  @ApiPropertyOptional({ enum: [true], description: "Present if it is the container's start command." })
  readonly start?: true;
}

/** A node of several machines, as in events. */
export class NodeFactsView implements NodeFacts {
  @ApiProperty({ example: 'qx1k0z5u6gm9t4v2w8y7r3s1d', description: 'Swarm node id.' })
  readonly id: string;
  @ApiProperty({ example: 'node-3', description: 'Host name of the node.' })
  readonly name: string;
  @ApiProperty({ example: 'default', description: 'Node pool, which tiers refer to.' })
  readonly pool: string;
  @ApiProperty({ enum: ['active', 'pause', 'drain'] })
  readonly availability: 'active' | 'pause' | 'drain';
}

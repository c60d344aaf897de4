import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { EVENT_SCHEMA } from '../event-schemas';
import type { BerthEvent, NodeFacts, ProcessFacts } from '../map';

/** The answer of `GET /api/events`. */
export class EventListView {
  @ApiProperty({
    type: 'array',
    items: EVENT_SCHEMA,
    description: 'In the order of seq. There may be more types one day; skip what you do not know.',
  })
  readonly events: readonly BerthEvent[];
  @ApiProperty({ type: 'integer', minimum: 0, example: 41, description: 'What to write as "after" for the next page.' })
  readonly next: number;
  @ApiPropertyOptional({
    enum: [true],
    description:
      'Only where events after "after" are no longer kept, or it is ahead of all there are: list the containers again, then go on from next.',
  })
  readonly resync_required?: true;
}

/** A kept process of a container, as in events. */
export class ProcessFactsView implements ProcessFacts {
  @ApiProperty({ format: 'uuid' })
  readonly id: string;
  @ApiProperty({ format: 'uuid', description: "The container's database id." })
  readonly container_id: string;
  @ApiProperty({ example: 'node', description: 'Its name, without arguments.' })
  readonly program: string;
  @ApiPropertyOptional({ enum: [true], description: "Where it is the container's start command." })
  readonly start?: true;
}

/** A node of several machines, as in events. */
export class NodeFactsView implements NodeFacts {
  @ApiProperty({ example: 'qx1k0z5u6gm9t4v2w8y7r3s1d', description: "Swarm's own." })
  readonly id: string;
  @ApiProperty({ example: 'node-3', description: 'As the machine calls itself.' })
  readonly name: string;
  @ApiProperty({ example: 'default', description: 'Tiers name pools.' })
  readonly pool: string;
  @ApiProperty({ enum: ['active', 'pause', 'drain'] })
  readonly availability: 'active' | 'pause' | 'drain';
}

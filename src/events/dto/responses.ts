import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { EVENT_SCHEMA } from '../event-schemas';
import type { BerthEvent, ProcessFacts } from '../map';

/** What `GET /api/events` answers. */
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

/** A process that is kept in a container, as events show it. */
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

import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import type { BerthEvent } from '../map';

/** One event, the same however it comes. */
class EventView {
  @ApiProperty({
    example: 'container_stopped',
    description: 'There may be more types one day; skip what you do not know.',
  })
  readonly type: string;
  @ApiProperty({ type: 'integer', example: 41, description: "Grows by one with each of the user's events." })
  readonly seq: number;
  @ApiProperty({ format: 'date-time', example: '2026-01-31T12:00:00.000Z' })
  readonly timestamp: string;
  @ApiProperty({
    type: 'object',
    additionalProperties: true,
    example: { id: '4f1d2c3b'.repeat(8), name: 'dev-environment', status: 'stopped', reason: 'exited', exit_code: 1 },
    description:
      "The container's id, db_id, name, status, image, role and resources, or the agent's id, type, name, status, os, arch and tags; " +
      'and what the type adds, such as stage, message and progress.',
  })
  readonly data: object;
}

/** What `GET /api/events` answers. */
export class EventListView {
  @ApiProperty({ type: [EventView], description: 'In the order of seq.' })
  readonly events: readonly BerthEvent[];
  @ApiProperty({ type: 'integer', example: 41, description: 'What to write as "after" for the next page.' })
  readonly next: number;
  @ApiPropertyOptional({
    enum: [true],
    description:
      'Only where events after "after" are no longer kept, or it is ahead of all there are: list the containers again, then go on from next.',
  })
  readonly resync_required?: true;
}

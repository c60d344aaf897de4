import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Choice, Count, Text, Uuid } from '../../api-fields';
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
  @Count('Value of "after" for the next page.', { example: 41 })
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
  @Uuid() readonly id: string;
  @Uuid('Database id of the container.') readonly container_id: string;
  @Text('Program name, without arguments.', { example: 'node' })
  readonly program: string;
  @ApiPropertyOptional({ enum: [true], description: "Present if it is the container's start command." })
  readonly start?: true;
}

/** A node of several machines, as in events. */
export class NodeFactsView implements NodeFacts {
  @Text('Swarm node id.', { example: 'qx1k0z5u6gm9t4v2w8y7r3s1d' })
  readonly id: string;
  @Text('Host name of the node.', { example: 'node-3' }) readonly name: string;
  @Text('Node pool, which tiers refer to.', { example: 'default' })
  readonly pool: string;
  @Choice(['active', 'pause', 'drain'])
  readonly availability: 'active' | 'pause' | 'drain';
}

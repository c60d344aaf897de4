import { ApiExtraModels, ApiProperty, getSchemaPath } from '@nestjs/swagger';
import { AgentView } from '../../agents';
import { ListedContainerView } from './listed-container-view';

/** What of their tier's containers a user uses, whatever a query's filters and pages. */
export class ContainerUsageView {
  @ApiProperty({ type: 'integer', example: 2, description: 'How many live containers the user has.' })
  readonly containers: number;
  @ApiProperty({ type: 'integer', example: 5, description: "How many the user's tier allows." })
  readonly limit: number;
}

/** What `GET /api/containers` answers. */
@ApiExtraModels(ListedContainerView, AgentView)
export class ContainerListView {
  @ApiProperty({
    type: 'array',
    items: { oneOf: [{ $ref: getSchemaPath(ListedContainerView) }, { $ref: getSchemaPath(AgentView) }] },
    description: 'Containers, newest first, and on the first page after them the agents that are online.',
  })
  readonly containers: readonly (ListedContainerView | AgentView)[];
  @ApiProperty({
    type: 'integer',
    example: 2,
    description: 'How many entries "containers" has in this answer, agents included.',
  })
  readonly count: number;
  @ApiProperty({ type: ContainerUsageView })
  readonly usage: ContainerUsageView;
  @ApiProperty({ type: 'integer', example: 5, description: 'The same as "usage.limit".' })
  readonly limit: number;
  @ApiProperty({
    type: 'integer',
    example: 41,
    description: 'Watch from here: every later change is an event with a greater "seq".',
  })
  readonly event_seq: number;
  @ApiProperty({
    type: String,
    nullable: true,
    example: null,
    description: 'What to write as "cursor" for the next page; null on the last.',
  })
  readonly next_cursor: string | null;
}

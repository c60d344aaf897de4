import { Body, Controller, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiBody, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Audited } from '../audit';
import { Scopes } from '../auth';
import { CapacityHistory, CapacityHistoryView, NodeListView, NodesAdmin, NodeView } from '../containers';
import { ApiFaults } from '../errors';
import { DrainNodeDto } from './dto/requests';

/** The machines of a cluster. */
@ApiTags('admin')
@Controller('admin/nodes')
@Scopes('admin')
export class AdminNodesController {
  constructor(
    private readonly nodes: NodesAdmin,
    private readonly history: CapacityHistory,
  ) {}

  @Get()
  @ApiOperation({ summary: 'List cluster nodes with capacity and usage' })
  @ApiOkResponse({ type: NodeListView })
  list(): Promise<NodeListView> {
    return this.nodes.list();
  }

  @Get(':name/history')
  @ApiOperation({
    summary: 'Get reserved resources and container counts of a node over the last day',
    description: 'One sample every 5 minutes, kept in memory: a restart discards the history.',
  })
  @ApiOkResponse({ type: CapacityHistoryView })
  @ApiFaults('node_not_found')
  historyOf(@Param('name') name: string): Promise<CapacityHistoryView> {
    return this.history.viewNode(name);
  }

  @Post(':name/drain')
  @HttpCode(200)
  @Audited('node.drain')
  @ApiOperation({
    summary: 'Drain a node: block new placements and starts',
    description:
      'Running containers keep running. With `move`, all containers are moved to other nodes in the background, a ' +
      'few at a time, until the node is activated or drained without `move`. `evacuation` reports the progress and ' +
      'the failed moves.',
  })
  @ApiBody({ type: DrainNodeDto, required: false })
  @ApiOkResponse({ type: NodeView })
  @ApiFaults('node_not_found', 'not_ready')
  drain(@Param('name') name: string, @Body() { move }: DrainNodeDto): Promise<NodeView> {
    return this.nodes.setAvailability(name, 'drain', { move });
  }

  @Post(':name/activate')
  @HttpCode(200)
  @Audited('node.activate')
  @ApiOperation({ summary: 'Activate a node: allow placements and starts again' })
  @ApiOkResponse({ type: NodeView })
  @ApiFaults('node_not_found', 'not_ready')
  activate(@Param('name') name: string): Promise<NodeView> {
    return this.nodes.setAvailability(name, 'active');
  }

  @Post(':name/forget')
  @HttpCode(200)
  @Audited('node.forget')
  @ApiOperation({
    summary: 'Give up a node that is permanently lost',
    description:
      'Its containers change to `error` with the reason `node_lost`, and their data is lost: a start recreates ' +
      'them on another node. Refused while the node is reachable. If the node returns, containers that have not ' +
      'been recreated get their data back and are stopped; everything else on it is removed.',
  })
  @ApiOkResponse({ type: NodeView })
  @ApiFaults('node_not_found', 'node_reachable')
  forget(@Param('name') name: string): Promise<NodeView> {
    return this.nodes.forget(name);
  }
}

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
  @ApiOperation({ summary: 'List the machines of a cluster, with what they have and what is used of it' })
  @ApiOkResponse({ type: NodeListView })
  list(): Promise<NodeListView> {
    return this.nodes.list();
  }

  @Get(':name/history')
  @ApiOperation({
    summary: 'What was reserved of a machine in the last day, and how many containers ran there',
    description: 'One sample in five minutes, kept in this process: a restart begins anew.',
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
    summary: 'Place and start nothing on a machine any more; what runs there goes on',
    description:
      'With `move` what is on it is moved to other machines, a few at a time, until it is active again or drained ' +
      'without that. It goes on in the background: `evacuation` says how far it is, and what could not be moved.',
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
  @ApiOperation({ summary: 'Place and start containers on a machine again' })
  @ApiOkResponse({ type: NodeView })
  @ApiFaults('node_not_found', 'not_ready')
  activate(@Param('name') name: string): Promise<NodeView> {
    return this.nodes.setAvailability(name, 'active');
  }

  @Post(':name/forget')
  @HttpCode(200)
  @Audited('node.forget')
  @ApiOperation({
    summary: 'Give up a machine that is gone for good',
    description:
      'Its containers are in `error` with the reason `node_lost`, and their data is lost: a start makes them anew on ' +
      'another machine. Refused while the machine answers. Should it come back, containers that were not made anew ' +
      'have their data again, and are stopped; what else it still has is removed.',
  })
  @ApiOkResponse({ type: NodeView })
  @ApiFaults('node_not_found', 'node_reachable')
  forget(@Param('name') name: string): Promise<NodeView> {
    return this.nodes.forget(name);
  }
}

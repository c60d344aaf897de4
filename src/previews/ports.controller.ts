import { applyDecorators, Body, Controller, Delete, Get, Param, Post, Put, Req, Res } from '@nestjs/common';
import {
  ApiCreatedResponse,
  ApiExtraModels,
  ApiOkResponse,
  ApiOperation,
  ApiParam,
  ApiTags,
  getSchemaPath,
} from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Audited, AuditedLook } from '../audit';
import { CurrentPrincipal, ForContainerTokens, type Principal, Scopes } from '../auth';
import { ApiContainerById } from '../containers';
import type { ApiFault } from '../errors';
import { eventStream, Location } from '../http';
import { ApiIdempotencyKey, Keyed, type KeyedRequest, KeyedSecrets, REPLAYED_HEADER } from '../idempotency';
import { RunStreams } from '../sandbox';
import { ContainerPorts } from './container-ports';
import {
  CreatedLinkView,
  CreateLinkDto,
  LinkListView,
  LinkRevokedView,
  PortAccessDto,
  PortAccessView,
  PortListView,
  PortsEndView,
  viewLink,
} from './dto';
import { ListeningPorts } from './listening-ports';

/** Documents a route on one port of a container. */
const ApiPort = (...faults: readonly ApiFault[]): MethodDecorator =>
  applyDecorators(
    ApiContainerById('guest_session_expired', 'exec_not_allowed', 'previews_disabled', ...faults),
    ApiParam({ name: 'port', description: 'TCP port.', schema: { type: 'integer', minimum: 1, maximum: 65_535 } }),
  );

/** Which ports of a container listen, and who may see them. */
@ApiTags('previews')
@ForContainerTokens()
@Controller('containers/:id/ports')
export class PortsController {
  constructor(
    private readonly ports: ContainerPorts,
    private readonly once: KeyedSecrets,
    private readonly streams: RunStreams,
    private readonly listening: ListeningPorts,
  ) {}

  @Get()
  @Scopes('exec')
  @AuditedLook('container.port_list')
  @ApiOperation({
    summary: 'List listening ports of a container',
    description:
      'With "Accept: text/event-stream", sends Server-Sent Events: "ports" initially and within seconds of each ' +
      'change, and finally "end" ({ reason }) when the container stops, the token ends or the server shuts down. A ' +
      'stream does not count as use of the container.',
  })
  @ApiExtraModels(PortListView, PortsEndView)
  @ApiContainerById(
    'guest_session_expired',
    'exec_not_allowed',
    'no_capacity',
    'operation_in_progress',
    'resume_failed',
    'container_not_running',
    'too_many_connections',
    'command_failed',
  )
  @ApiOkResponse({
    content: {
      'application/json': { schema: { $ref: getSchemaPath(PortListView) } },
      ...eventStream({ ports: { $ref: getSchemaPath(PortListView) }, end: { $ref: getSchemaPath(PortsEndView) } }),
    },
  })
  list(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    return this.streams.answer({ caller, id, request, reply }, this.listening.sourceFor(caller));
  }

  @Put(':port')
  @Scopes('exec')
  @Audited('container.port_access')
  @ApiOperation({
    summary: 'Make a port public or private',
    description: 'When a port becomes private, connections without access are closed.',
  })
  @ApiPort('public_not_allowed', 'link_limit_reached')
  @ApiOkResponse({ type: PortAccessView })
  setAccess(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Param('port') port: string,
    @Body() { access }: PortAccessDto,
  ): Promise<PortAccessView> {
    return this.ports.setAccess(caller, id, { port, access });
  }

  @Post(':port/links')
  @Scopes('exec')
  @Audited('container.link_create')
  @Location<CreatedLinkView>((_link, { id = '', port = '' }) => `/api/containers/${id}/ports/${port}/links`)
  @ApiOperation({
    summary: 'Create a link to a port',
    description:
      'Visitors with the link can access the port until the link expires. The link is shown only in this response.',
  })
  @ApiIdempotencyKey()
  @ApiPort('idempotency_key_reused', 'link_limit_reached')
  @ApiCreatedResponse({ type: CreatedLinkView, headers: REPLAYED_HEADER })
  createLink(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Param('port') port: string,
    @Body() body: CreateLinkDto,
    @Keyed() request: KeyedRequest,
  ): Promise<CreatedLinkView> {
    return this.once.once(caller, request, () => this.ports.createLink(caller, id, Object.assign({ port }, body)));
  }

  @Get(':port/links')
  @Scopes('exec')
  @ApiOperation({ summary: 'List links to a port' })
  @ApiPort()
  @ApiOkResponse({ type: LinkListView })
  async listLinks(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Param('port') port: string,
  ): Promise<LinkListView> {
    return { links: (await this.ports.listLinks(caller, id, port)).map(viewLink) };
  }

  @Delete(':port/links/:link')
  @Scopes('exec')
  @Audited('container.link_revoke')
  @ApiOperation({
    summary: 'Revoke a link to a port',
    description: 'Connections opened through the link are closed immediately.',
  })
  @ApiPort('link_not_found')
  @ApiParam({ name: 'link', description: 'Link id.' })
  @ApiOkResponse({ type: LinkRevokedView })
  async revokeLink(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Param('port') port: string,
    @Param('link') link: string,
  ): Promise<LinkRevokedView> {
    await this.ports.revokeLink(caller, id, { port, link });
    return { message: 'link revoked', id: link };
  }
}

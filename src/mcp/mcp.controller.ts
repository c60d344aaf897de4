import { Body, Controller, Get, HttpCode, Post, Req, Res } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { CurrentPrincipal, ForContainerTokens, type Principal, Public, Scopes, USUAL_SCOPES } from '../auth';
import { invalidParameters } from '../errors';
import { AllowedHosts, ConnectionEnd, originOf } from '../http';
import { RefusesIdempotencyKey } from '../idempotency';
import { McpEndpoint } from './mcp-endpoint';

const ENDPOINT = '/mcp';
const METADATA = '/.well-known/oauth-protected-resource';

/** The Model Context Protocol over Streamable HTTP. Its messages are not in the OpenAPI document: see docs/mcp.md. */
@ApiExcludeController()
@Controller()
export class McpController {
  constructor(
    private readonly endpoint: McpEndpoint,
    private readonly hosts: AllowedHosts,
  ) {}

  /** Each call of a tool checks its own scope, and is audited as the route of the API that does the same. */
  @Post('mcp')
  @HttpCode(200)
  @ForContainerTokens()
  @Scopes('read')
  @RefusesIdempotencyKey()
  async answer(
    @CurrentPrincipal() caller: Principal,
    @Body() body: object | undefined,
    @ConnectionEnd() signal: AbortSignal,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const fault = this.hosts.originFault(request.raw);
    if (fault) throw fault;
    if (!body) throw invalidParameters([{ field: 'body', message: 'must be a message of JSON-RPC' }]);
    await this.endpoint.answer({ caller, body, signal, address: request.ip, requestId: request.id, request, reply });
  }

  /** How to get in (RFC 9728): with a token of Berth in the header. There is no authorization server. */
  @Public()
  @Get(['.well-known/oauth-protected-resource', '.well-known/oauth-protected-resource/mcp'])
  metadata(@Req() request: FastifyRequest): object {
    return {
      resource: `${originOf(request) ?? ''}${ENDPOINT}`,
      resource_name: 'Berth',
      scopes_supported: USUAL_SCOPES,
      bearer_methods_supported: ['header'],
    };
  }
}

/** Adds to each 401 of the endpoint where its metadata is (RFC 9728, 5.1). Call it before `init()` or `listen()`. */
export function setUpMcp(app: NestFastifyApplication): void {
  const fastify = app.getHttpAdapter().getInstance();
  fastify.addHook('onSend', (request, reply, _payload, done) => {
    const origin = reply.statusCode === 401 && request.route?.url === ENDPOINT ? originOf(request) : null;
    if (origin !== null) {
      const challenge = String(reply.getHeader('www-authenticate') ?? 'Bearer');
      reply.header('www-authenticate', `${challenge}, resource_metadata="${origin}${METADATA}${ENDPOINT}"`);
    }
    done();
  });
}

import { Body, Controller, Delete, Get, Inject, Param, Post } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Audited } from '../audit';
import { CurrentPrincipal, type Principal, Scopes, TokenRequests, TokenService } from '../auth';
import { type Config, CONFIG } from '../config';
import { ContainersService } from '../containers';
import { ApiFaults, invalidParameters } from '../errors';
import { Location } from '../http';
import { ApiIdempotencyKey, Keyed, type KeyedRequest, KeyedSecrets, REPLAYED_HEADER } from '../idempotency';
import { CreatedTokenView, CreateTokenDto, TokenListView, TokenRevokedView, viewIssued, viewToken } from './dto/tokens';

/** A user's own tokens. */
@ApiTags('tokens')
@Controller('tokens')
export class TokensController {
  constructor(
    private readonly tokens: TokenService,
    private readonly requests: TokenRequests,
    private readonly once: KeyedSecrets,
    private readonly containers: ContainersService,
    @Inject(CONFIG) private readonly config: Pick<Config, 'TOKEN_LIMIT'>,
  ) {}

  @Post()
  @Scopes('write')
  @Audited('token.create')
  @Location<CreatedTokenView>(({ id }) => `/api/tokens/${id}`)
  @ApiOperation({
    summary: 'Create a token',
    description:
      'The token is shown only in this response. With "container", it opens the routes of that container, its events and ' +
      'snapshots, and nothing else of the user; it creates no containers and no tokens.',
  })
  @ApiIdempotencyKey()
  @ApiCreatedResponse({ type: CreatedTokenView, headers: REPLAYED_HEADER })
  @ApiFaults(
    'idempotency_key_reused',
    'guest_session_expired',
    'token_limit_reached',
    'container_not_found',
    'ambiguous_id',
    'not_authorized',
  )
  issue(
    @CurrentPrincipal() caller: Principal,
    @Body() { name, scopes, expires_in: days, format, container, forks }: CreateTokenDto,
    @Keyed() request: KeyedRequest,
  ): Promise<CreatedTokenView> {
    return this.once.once(caller, request, async () => {
      const boundTo = container == null ? null : await this.containers.findNamed(caller, container);
      if (!boundTo && forks != null) throw invalidParameters([{ field: 'forks', message: 'requires container' }]);
      const asked = {
        name,
        scopes,
        days,
        ...(format != null && { format }),
        ...(boundTo && { boundTo: { id: boundTo.id, withForks: forks ?? false } }),
      };
      return viewIssued(await this.requests.issueFor(caller, this.config.TOKEN_LIMIT, asked));
    });
  }

  @Get()
  @Scopes('read')
  @ApiOperation({ summary: 'List your active tokens' })
  @ApiOkResponse({ type: TokenListView })
  async list(@CurrentPrincipal() caller: Principal): Promise<TokenListView> {
    const tokens = await this.tokens.list(caller.userId);
    return { tokens: tokens.map(viewToken), count: tokens.length };
  }

  @Delete(':id')
  @Scopes('write')
  @Audited('token.revoke')
  @ApiOperation({
    summary: 'Revoke a token',
    description: 'The token stops working immediately, and its connections are closed.',
  })
  @ApiOkResponse({ type: TokenRevokedView })
  @ApiFaults('token_not_found')
  async revoke(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<TokenRevokedView> {
    await this.tokens.revoke({ userId: caller.userId, tokenId: id });
    return { message: 'token revoked', id };
  }
}

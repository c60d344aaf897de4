import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiExtraModels, ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { Audited } from '../audit';
import { CurrentPrincipal, type Principal, Scopes } from '../auth';
import { ApiFaults } from '../errors';
import { Compressed, Location, PagedQuery } from '../http';
import {
  ApiIdempotencyKey,
  Keyed,
  type KeyedRequest,
  KeyedSecrets,
  RefusesIdempotencyKey,
  REPLAYED_HEADER,
} from '../idempotency';
import { DeliveriesService } from './deliveries.service';
import { CreateWebhookDto, ListDeliveriesDto, RotateSecretDto, UpdateWebhookDto } from './dto/requests';
import {
  DeliveryListView,
  DeliveryView,
  SecretRotatedView,
  WebhookCreatedView,
  WebhookDeletedView,
  WebhookFactsView,
  WebhookListView,
  WebhookView,
} from './dto/responses';
import { WebhooksService } from './webhooks.service';

const ApiWebhookId = (): MethodDecorator => ApiParam({ name: 'id', schema: { type: 'string', format: 'uuid' } });

/** A user's own webhooks. */
@ApiTags('webhooks')
@ApiExtraModels(WebhookFactsView)
@Controller('webhooks')
export class WebhooksController {
  constructor(
    private readonly webhooks: WebhooksService,
    private readonly deliveries: DeliveriesService,
    private readonly once: KeyedSecrets,
  ) {}

  @Post()
  @Scopes('write')
  @Audited('webhook.create')
  @Location<WebhookCreatedView>(({ id }) => `/api/webhooks/${id}`)
  @ApiOperation({
    summary: 'Make a webhook',
    description:
      'It gets the events that come after it, signed as Standard Webhooks says. The answer is the only one that shows its ' +
      'secret.',
  })
  @ApiIdempotencyKey()
  @ApiCreatedResponse({ type: WebhookCreatedView, headers: REPLAYED_HEADER })
  @ApiFaults('invalid_parameters', 'idempotency_key_reused', 'guest_session_expired', 'webhook_limit_reached')
  create(
    @CurrentPrincipal() caller: Principal,
    @Body() body: CreateWebhookDto,
    @Keyed() request: KeyedRequest,
  ): Promise<WebhookCreatedView> {
    return this.once.once(caller, request, () => this.webhooks.create({ caller, forAllUsers: false }, body));
  }

  @Get()
  @Scopes('read')
  @Compressed()
  @ApiOperation({ summary: 'List your webhooks' })
  @ApiOkResponse({ type: WebhookListView })
  @ApiFaults('invalid_parameters')
  list(@CurrentPrincipal() caller: Principal, @Query() query: PagedQuery): Promise<WebhookListView> {
    return this.webhooks.list(caller, query);
  }

  @Get(':id')
  @Scopes('read')
  @ApiWebhookId()
  @ApiOperation({ summary: 'Get a webhook' })
  @ApiOkResponse({ type: WebhookView })
  @ApiFaults('not_authorized', 'webhook_not_found')
  get(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<WebhookView> {
    return this.webhooks.get({ caller, forAllUsers: false }, id);
  }

  @Patch(':id')
  @Scopes('write')
  @Audited('webhook.update')
  @ApiWebhookId()
  @ApiOperation({
    summary: 'Change, pause or activate a webhook',
    description:
      'With a new URL, and when it is activated after it was disabled, everything that failed is tried again at once.',
  })
  @ApiOkResponse({ type: WebhookView })
  @ApiFaults('invalid_parameters', 'not_authorized', 'webhook_not_found')
  update(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Body() body: UpdateWebhookDto,
  ): Promise<WebhookView> {
    return this.webhooks.update({ caller, forAllUsers: false }, id, body);
  }

  @Delete(':id')
  @Scopes('write')
  @Audited('webhook.delete')
  @ApiWebhookId()
  @ApiOperation({ summary: 'Delete a webhook, and what it has not delivered' })
  @ApiOkResponse({ type: WebhookDeletedView })
  @ApiFaults('not_authorized', 'webhook_not_found')
  delete(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<WebhookDeletedView> {
    return this.webhooks.delete({ caller, forAllUsers: false }, id);
  }

  @Post(':id/rotate-secret')
  @HttpCode(200)
  @Scopes('write')
  @RefusesIdempotencyKey()
  @Audited('webhook.rotate_secret')
  @ApiWebhookId()
  @ApiOperation({
    summary: 'Replace the secret of a webhook',
    description: 'For a while deliveries are signed with both. The answer is the only one that shows the new secret.',
  })
  @ApiOkResponse({ type: SecretRotatedView })
  @ApiFaults('invalid_parameters', 'not_authorized', 'webhook_not_found')
  rotateSecret(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Body() body: RotateSecretDto,
  ): Promise<SecretRotatedView> {
    return this.webhooks.rotateSecret({ caller, forAllUsers: false }, id, body);
  }

  @Post(':id/test')
  @HttpCode(200)
  @Scopes('write')
  @RefusesIdempotencyKey()
  @Audited('webhook.test')
  @ApiWebhookId()
  @ApiOperation({
    summary: 'Send a test to a webhook',
    description:
      'Of the type webhook_test, signed like every delivery; also if the webhook is paused or disabled. The answer comes ' +
      'with the outcome.',
  })
  @ApiOkResponse({ type: DeliveryView })
  @ApiFaults('not_authorized', 'webhook_not_found')
  test(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<DeliveryView> {
    return this.deliveries.test({ caller, forAllUsers: false }, id);
  }

  @Get(':id/deliveries')
  @Scopes('read')
  @Compressed()
  @ApiWebhookId()
  @ApiOperation({ summary: 'List the deliveries of a webhook' })
  @ApiOkResponse({ type: DeliveryListView })
  @ApiFaults('invalid_parameters', 'not_authorized', 'webhook_not_found')
  listDeliveries(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Query() query: ListDeliveriesDto,
  ): Promise<DeliveryListView> {
    return this.deliveries.list({ caller, forAllUsers: false }, id, query);
  }

  @Post(':id/deliveries/:delivery/redeliver')
  @HttpCode(200)
  @Scopes('write')
  @RefusesIdempotencyKey()
  @Audited('webhook.redeliver')
  @ApiWebhookId()
  @ApiParam({ name: 'delivery', schema: { type: 'string', format: 'uuid' } })
  @ApiOperation({
    summary: 'Repeat a delivery of a webhook',
    description:
      'With the same webhook-id. One that is over is sent once more, at once, and the answer comes with the outcome; one ' +
      'that is pending is tried in its order as soon as possible.',
  })
  @ApiOkResponse({ type: DeliveryView })
  @ApiFaults('not_authorized', 'webhook_not_found', 'delivery_not_found', 'event_not_kept')
  redeliver(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Param('delivery') delivery: string,
  ): Promise<DeliveryView> {
    return this.deliveries.redeliver({ caller, forAllUsers: false }, id, delivery);
  }
}

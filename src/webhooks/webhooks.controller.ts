import {
  applyDecorators,
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  Injectable,
  Param,
  Patch,
  Post,
  Query,
} from '@nestjs/common';
import { ApiCreatedResponse, ApiExtraModels, ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { Audited } from '../audit';
import { CurrentPrincipal, type Principal, type RouteScope, Scopes } from '../auth';
import { type ApiFault, ApiFaults } from '../errors';
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
import type { Access } from './webhook-access';
import { WebhooksService } from './webhooks.service';

interface Kind {
  readonly path: string;
  readonly forAllUsers: boolean;
  /** The suffix of the routes' summaries. */
  readonly whose: string;
  readonly read: readonly [RouteScope];
  readonly write: readonly [RouteScope];
  /** For changes by which a caller sees events, as their receiver or in the answer. */
  readonly writeAndRead: readonly [RouteScope, ...RouteScope[]];
}

/** The routes of users' own webhooks, and of those for everybody's events. */
function webhookRoutes({ path, forAllUsers, whose, read, write, writeAndRead }: Kind) {
  /** Describes the webhook's id, and what happens without such a webhook. */
  const ById = (...faults: readonly ApiFault[]): MethodDecorator =>
    applyDecorators(
      ApiParam({ name: 'id', schema: { type: 'string', format: 'uuid' } }),
      ApiFaults('webhook_not_found', ...(forAllUsers ? [] : (['not_authorized'] as const)), ...faults),
    );
  const access = (caller: Principal): Access => ({ caller, forAllUsers });

  @Injectable()
  class WebhookRoutes {
    constructor(
      readonly webhooks: WebhooksService,
      readonly deliveries: DeliveriesService,
      readonly once: KeyedSecrets,
    ) {}

    @Post()
    @Scopes(...writeAndRead)
    @Audited('webhook.create')
    @Location<WebhookCreatedView>((made) => `/api/${path}/${made.id}`)
    @ApiOperation({
      summary: `Make a webhook${whose}`,
      description:
        'It gets the events that come after it, signed as Standard Webhooks says. The answer is the only one that shows ' +
        'its secret.',
    })
    @ApiIdempotencyKey()
    @ApiCreatedResponse({ type: WebhookCreatedView, headers: REPLAYED_HEADER })
    @ApiFaults('invalid_parameters', 'idempotency_key_reused', 'guest_session_expired', 'webhook_limit_reached')
    create(
      @CurrentPrincipal() caller: Principal,
      @Body() body: CreateWebhookDto,
      @Keyed() request: KeyedRequest,
    ): Promise<WebhookCreatedView> {
      return this.once.once(caller, request, () => this.webhooks.create(access(caller), body));
    }

    @Get()
    @Scopes(...read)
    @Compressed()
    @ApiOperation({ summary: `List the webhooks${whose}` })
    @ApiOkResponse({ type: WebhookListView })
    @ApiFaults('invalid_parameters')
    list(@CurrentPrincipal() caller: Principal, @Query() query: PagedQuery): Promise<WebhookListView> {
      return this.webhooks.list(access(caller), query);
    }

    @Get(':id')
    @Scopes(...read)
    @ById()
    @ApiOperation({ summary: `Get a webhook${whose}` })
    @ApiOkResponse({ type: WebhookView })
    get(@CurrentPrincipal() caller: Principal, @Param('id') webhook: string): Promise<WebhookView> {
      return this.webhooks.get(access(caller), webhook);
    }

    @Patch(':id')
    @Scopes(...writeAndRead)
    @Audited('webhook.update')
    @ById('invalid_parameters')
    @ApiOperation({
      summary: `Change, pause or activate a webhook${whose}`,
      description:
        'With a new URL, and when it is activated after it was disabled, everything that failed is tried again at once.',
    })
    @ApiOkResponse({ type: WebhookView })
    update(
      @CurrentPrincipal() caller: Principal,
      @Param('id') webhook: string,
      @Body() body: UpdateWebhookDto,
    ): Promise<WebhookView> {
      return this.webhooks.update(access(caller), webhook, body);
    }

    @Delete(':id')
    @Scopes(...write)
    @Audited('webhook.delete')
    @ById()
    @ApiOperation({ summary: `Delete a webhook${whose}, and what it has not delivered` })
    @ApiOkResponse({ type: WebhookDeletedView })
    delete(@CurrentPrincipal() caller: Principal, @Param('id') webhook: string): Promise<WebhookDeletedView> {
      return this.webhooks.delete(access(caller), webhook);
    }

    @Post(':id/rotate-secret')
    @HttpCode(200)
    @Scopes(...write)
    @RefusesIdempotencyKey()
    @Audited('webhook.rotate_secret')
    @ById('invalid_parameters')
    @ApiOperation({
      summary: `Replace the secret of a webhook${whose}`,
      description: 'For a while deliveries are signed with both. The answer is the only one that shows the new secret.',
    })
    @ApiOkResponse({ type: SecretRotatedView })
    rotateSecret(
      @CurrentPrincipal() caller: Principal,
      @Param('id') webhook: string,
      @Body() body: RotateSecretDto,
    ): Promise<SecretRotatedView> {
      return this.webhooks.rotateSecret(access(caller), webhook, body);
    }

    @Post(':id/test')
    @HttpCode(200)
    @Scopes(...write)
    @RefusesIdempotencyKey()
    @Audited('webhook.test')
    @ById()
    @ApiOperation({
      summary: `Send a test to a webhook${whose}`,
      description:
        'Of the type webhook_test, signed like every delivery; also if the webhook is paused or disabled. The answer comes ' +
        'with the outcome.',
    })
    @ApiOkResponse({ type: DeliveryView })
    test(@CurrentPrincipal() caller: Principal, @Param('id') webhook: string): Promise<DeliveryView> {
      return this.deliveries.test(access(caller), webhook);
    }

    @Get(':id/deliveries')
    @Scopes(...read)
    @Compressed()
    @ById('invalid_parameters')
    @ApiOperation({ summary: `List the deliveries of a webhook${whose}` })
    @ApiOkResponse({ type: DeliveryListView })
    listDeliveries(
      @CurrentPrincipal() caller: Principal,
      @Param('id') webhook: string,
      @Query() query: ListDeliveriesDto,
    ): Promise<DeliveryListView> {
      return this.deliveries.list(access(caller), webhook, query);
    }

    @Post(':id/deliveries/:delivery/redeliver')
    @HttpCode(200)
    @Scopes(...writeAndRead)
    @RefusesIdempotencyKey()
    @Audited('webhook.redeliver')
    @ById('delivery_not_found', 'event_not_kept')
    @ApiParam({ name: 'delivery', schema: { type: 'string', format: 'uuid' } })
    @ApiOperation({
      summary: `Repeat a delivery of a webhook${whose}`,
      description:
        'With the same webhook-id. One that is over is sent once more, at once, and the answer comes with the outcome; one ' +
        'that is pending is tried in its order as soon as possible.',
    })
    @ApiOkResponse({ type: DeliveryView })
    redeliver(
      @CurrentPrincipal() caller: Principal,
      @Param('id') webhook: string,
      @Param('delivery') delivery: string,
    ): Promise<DeliveryView> {
      return this.deliveries.redeliver(access(caller), webhook, delivery);
    }
  }
  return WebhookRoutes;
}

/** A user's own webhooks. */
@ApiTags('webhooks')
@ApiExtraModels(WebhookFactsView)
@Controller('webhooks')
export class WebhooksController extends webhookRoutes({
  path: 'webhooks',
  forAllUsers: false,
  whose: '',
  read: ['read'],
  write: ['write'],
  writeAndRead: ['write', 'read'],
}) {}

/** Webhooks for everybody's events, which all administrators share. */
@ApiTags('admin')
@Controller('admin/webhooks')
export class AdminWebhooksController extends webhookRoutes({
  path: 'admin/webhooks',
  forAllUsers: true,
  whose: " for everybody's events",
  read: ['admin'],
  write: ['admin'],
  writeAndRead: ['admin'],
}) {}

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
  /** Distinguishes the kinds in the routes' summaries. */
  readonly adjective: '' | 'global ';
  readonly read: readonly [RouteScope];
  readonly write: readonly [RouteScope];
  /** For changes by which a caller sees events, as their receiver or in the answer. */
  readonly writeAndRead: readonly [RouteScope, ...RouteScope[]];
}

/** The routes of users' own webhooks, and of global ones, which receive the events of all users. */
function webhookRoutes({ path, forAllUsers, adjective, read, write, writeAndRead }: Kind) {
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
      summary: `Create a ${adjective}webhook`,
      description:
        'Receives events from now on, signed according to Standard Webhooks. The secret is shown only in this ' +
        'response.',
    })
    @ApiIdempotencyKey()
    @ApiCreatedResponse({ type: WebhookCreatedView, headers: REPLAYED_HEADER })
    @ApiFaults('idempotency_key_reused', 'guest_session_expired', 'webhook_limit_reached')
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
    @ApiOperation({ summary: `List ${adjective}webhooks` })
    @ApiOkResponse({ type: WebhookListView })
    list(@CurrentPrincipal() caller: Principal, @Query() query: PagedQuery): Promise<WebhookListView> {
      return this.webhooks.list(access(caller), query);
    }

    @Get(':id')
    @Scopes(...read)
    @ById()
    @ApiOperation({ summary: `Get a ${adjective}webhook` })
    @ApiOkResponse({ type: WebhookView })
    get(@CurrentPrincipal() caller: Principal, @Param('id') webhook: string): Promise<WebhookView> {
      return this.webhooks.get(access(caller), webhook);
    }

    @Patch(':id')
    @Scopes(...writeAndRead)
    @Audited('webhook.update')
    @ById()
    @ApiOperation({
      summary: `Update, pause or activate a ${adjective}webhook`,
      description:
        'After a new URL, or after a disabled webhook is activated, all failed deliveries are retried immediately.',
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
    @ApiOperation({ summary: `Delete a ${adjective}webhook and its pending deliveries` })
    @ApiOkResponse({ type: WebhookDeletedView })
    delete(@CurrentPrincipal() caller: Principal, @Param('id') webhook: string): Promise<WebhookDeletedView> {
      return this.webhooks.delete(access(caller), webhook);
    }

    @Post(':id/rotate-secret')
    @HttpCode(200)
    @Scopes(...write)
    @RefusesIdempotencyKey()
    @Audited('webhook.rotate_secret')
    @ById()
    @ApiOperation({
      summary: `Rotate the secret of a ${adjective}webhook`,
      description:
        'For some time, deliveries are signed with both secrets. The new secret is shown only in this response.',
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
      summary: `Send a test event to a ${adjective}webhook`,
      description:
        'Sends an event of the type webhook_test, signed like every delivery, even if the webhook is paused or ' +
        'disabled. The response contains the result.',
    })
    @ApiOkResponse({ type: DeliveryView })
    test(@CurrentPrincipal() caller: Principal, @Param('id') webhook: string): Promise<DeliveryView> {
      return this.deliveries.test(access(caller), webhook);
    }

    @Get(':id/deliveries')
    @Scopes(...read)
    @Compressed()
    @ById()
    @ApiOperation({ summary: `List deliveries of a ${adjective}webhook` })
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
      summary: `Resend a delivery of a ${adjective}webhook`,
      description:
        'Uses the same webhook-id. A finished delivery is sent again immediately, and the response contains the ' +
        'result; a pending one is retried in order as soon as possible.',
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
  adjective: '',
  read: ['read'],
  write: ['write'],
  writeAndRead: ['write', 'read'],
}) {}

/** Global webhooks, which all administrators share. */
@ApiTags('admin')
@Controller('admin/webhooks')
export class AdminWebhooksController extends webhookRoutes({
  path: 'admin/webhooks',
  forAllUsers: true,
  adjective: 'global ',
  read: ['admin'],
  write: ['admin'],
  writeAndRead: ['admin'],
}) {}

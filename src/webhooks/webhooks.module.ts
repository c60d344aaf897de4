import { Inject, Injectable, Module } from '@nestjs/common';
import { AuditModule } from '../audit';
import { AuthModule } from '../auth';
import { EventsModule } from '../events';
import { IdempotencyModule } from '../idempotency';
import { type Logger, LOGGER } from '../logging';
import { Metrics, SampledGauge } from '../metrics';
import { SecretsModule } from '../secrets';
import { TiersModule } from '../tiers';
import { WebhookDeliverer } from './deliverer';
import { DeliveriesService } from './deliveries.service';
import { DeliveryAttempts } from './delivery-attempts';
import { DeliveryRepository, DeliveryRetention } from './delivery.repository';
import { Destinations, NameResolver } from './destinations';
import { Retries } from './retries';
import { WebhookSender } from './sender';
import { WebhookAccess } from './webhook-access';
import { WebhookSecrets } from './signing';
import { WebhookRepository } from './webhook.repository';
import { AdminWebhooksController, WebhooksController } from './webhooks.controller';
import { WebhooksService } from './webhooks.service';

/** Metrics of webhooks. They read the database, and so are the same in every process. */
@Injectable()
class WebhookGauges {
  constructor(
    metrics: Metrics,
    webhooks: WebhookRepository,
    deliveries: DeliveryRepository,
    @Inject(LOGGER) logger: Logger,
  ) {
    new SampledGauge(metrics, {
      name: 'berth_webhooks',
      help: 'Webhooks by status.',
      labelNames: ['status'],
      sample: async () =>
        (await webhooks.countByStatus()).map(({ status, count }) => ({ labels: { status }, value: count })),
      logger,
    });
    new SampledGauge(metrics, {
      name: 'berth_webhook_deliveries_waiting',
      help: 'Pending webhook deliveries.',
      sample: async () => [{ value: await deliveries.countPending() }],
      logger,
    });
  }
}

/** Webhooks: events are sent to receivers of users and operators, signed, in order and at least once. */
@Module({
  imports: [AuditModule, AuthModule, EventsModule, IdempotencyModule, SecretsModule, TiersModule],
  controllers: [WebhooksController, AdminWebhooksController],
  providers: [
    WebhooksService,
    DeliveriesService,
    WebhookAccess,
    WebhookSecrets,
    Retries,
    WebhookRepository,
    DeliveryRepository,
    DeliveryAttempts,
    DeliveryRetention,
    Destinations,
    NameResolver,
    WebhookSender,
    WebhookDeliverer,
    WebhookGauges,
  ],
})
export class WebhooksModule {}

export { WEBHOOK_CHANNEL } from './webhook-channel';
export { WebhooksModule } from './webhooks.module';

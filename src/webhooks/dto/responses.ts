import { ApiProperty } from '@nestjs/swagger';
import { Choice, Count, Flag, Text, Timestamp, Uuid } from '../../api-fields';
import type { WebhookFacts } from '../../events';
import { ApiNextCursor } from '../../http';
import type { Payload } from '../delivery-attempts';
import type { Backlog } from '../delivery.repository';
import {
  DELIVERY_STATUSES,
  type DeliveryRow,
  type DeliveryStatus,
  WEBHOOK_STATUSES,
  type WebhookRow,
  type WebhookStatus,
} from '../webhook.entity';

const OPTIONAL_TIME = { type: String, format: 'date-time', nullable: true, example: null };
const SECRET = { pattern: '^whsec_[A-Za-z0-9+/=]+$', example: 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD' };

/** A webhook in events. */
export class WebhookFactsView implements WebhookFacts {
  @Uuid() readonly id: string;
  @Text('Host of the URL, with the port if the URL has one.', { example: 'hooks.example.com' })
  readonly host: string;
  @Flag('True for a global webhook, which receives the events of all users.')
  readonly for_all_users: boolean;
}

/** A webhook in answers. */
export class WebhookView {
  @Uuid() readonly id: string;
  @Uuid('User who created it.') readonly user_id: string;
  @Text({ example: 'https://hooks.example.com/berth' }) readonly url: string;
  @Text({ nullable: true, example: 'the status page' })
  readonly description: string | null;
  @ApiProperty({ type: [String], nullable: true, example: ['container_started'], description: 'Null: all.' })
  readonly events: readonly string[] | null;
  @ApiProperty({ type: 'object', additionalProperties: { type: 'string' }, example: { team: 'core' } })
  readonly labels: Readonly<Record<string, string>>;
  @Flag('True for a global webhook, which receives the events of all users.')
  readonly for_all_users: boolean;
  @Choice(WEBHOOK_STATUSES, { enumName: 'WebhookStatus' })
  readonly status: WebhookStatus;
  @Text('For a disabled webhook: `failing` (for too long) or `gone` (the receiver responded with 410).', {
    nullable: true,
    example: null,
  })
  readonly status_reason: string | null;
  @Count('Number of pending deliveries.', { example: 0 })
  readonly waiting: number;
  @ApiProperty({ ...OPTIONAL_TIME, description: 'Start of the current failures; null if no delivery is failing.' })
  readonly failing_since: string | null;
  @ApiProperty({ ...OPTIONAL_TIME, description: 'Until when deliveries are also signed with the previous secret.' })
  readonly former_secret_until: string | null;
  @Timestamp() readonly created_at: string;
  @Timestamp() readonly updated_at: string;
}

/** @param backlog absent if nothing is pending */
export function webhookView(row: WebhookRow, backlog?: Backlog): WebhookView {
  return {
    id: row.id,
    user_id: row.userId,
    url: row.url,
    description: row.description,
    events: row.events,
    labels: row.labels,
    for_all_users: row.forAllUsers,
    status: row.status,
    status_reason: row.statusReason,
    waiting: backlog?.waiting ?? 0,
    failing_since: backlog?.failingSince?.toISOString() ?? null,
    former_secret_until: row.formerSecretUntil?.toISOString() ?? null,
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
  };
}

/** The answer of `POST /api/webhooks`. */
export class WebhookCreatedView extends WebhookView {
  @ApiProperty({ ...SECRET, description: 'Secret that signs the deliveries. Shown only once.' })
  readonly secret: string;
}

/** The answer of `GET /api/webhooks`. */
export class WebhookListView {
  @ApiProperty({ type: [WebhookView], description: 'Newest first.' })
  readonly webhooks: readonly WebhookView[];
  @Count('Number of webhooks in this response.', { example: 1 })
  readonly count: number;
  @Count("Maximum allowed by the user's tier; for global webhooks, the maximum per administrator.", { example: 5 })
  readonly limit: number;
  @ApiNextCursor() readonly next_cursor: string | null;
}

/** The answer of `DELETE /api/webhooks/:id`. */
export class WebhookDeletedView {
  @Choice(['webhook deleted']) readonly message: string;
  @Uuid() readonly id: string;
}

/** The answer of `POST /api/webhooks/:id/rotate-secret`. */
export class SecretRotatedView {
  @Uuid() readonly id: string;
  @ApiProperty({ ...SECRET, description: 'New secret that signs the deliveries. Shown only once.' })
  readonly secret: string;
  @Timestamp('Until when deliveries are also signed with the previous secret.')
  readonly former_secret_until: string;
}

/** What is sent to a webhook: an event without its `seq`. */
export class PayloadView {
  @Text('Event type; webhook_test for a test.', { example: 'container_started' })
  readonly type: string;
  @Timestamp() readonly timestamp: string;
  @ApiProperty({ type: 'object', additionalProperties: true, description: 'As in the event.' })
  readonly data: object;
  @Uuid('Owner of the event; only for global webhooks.', { required: false })
  readonly user_id?: string;
}

/** A delivery, and what came of its last attempt. */
export class DeliveryView {
  @Uuid('Also sent as webhook-id with every attempt.') readonly id: string;
  @Text('Event type; events_lost if events were no longer stored.', { example: 'container_started' })
  readonly type: string;
  @Text('Subject of the event. Deliveries with the same subject are sent in order.', {
    example: '3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11',
  })
  readonly subject: string;
  @Choice(DELIVERY_STATUSES, { enumName: 'DeliveryStatus' })
  readonly status: DeliveryStatus;
  @Count({ example: 1 }) readonly attempts: number;
  @Timestamp('When the event was emitted.') readonly created_at: string;
  @ApiProperty({ ...OPTIONAL_TIME, description: 'Last attempt; null if none.' })
  readonly attempted_at: string | null;
  @ApiProperty({ ...OPTIONAL_TIME, description: 'Next attempt; null if there is none, or as soon as possible.' })
  readonly next_try_at: string | null;
  @ApiProperty({
    type: PayloadView,
    nullable: true,
    description: 'The request; null if the event is no longer stored.',
  })
  readonly request: Payload | null;
  @Count('Null if there was no response.', { nullable: true, minimum: 100, maximum: 999, example: 204 })
  readonly response_status: number | null;
  @Text('First 4,096 bytes of the response.', { nullable: true, example: '' })
  readonly response_body: string | null;
  @Text(
    'Reason for the failure: status_refused, redirected, address_refused, name_not_resolved, connection_refused, ' +
      'connection_failed, certificate_refused or timed_out; or a sentence if events were lost.',
    { nullable: true, example: null },
  )
  readonly error: string | null;
  @Count({ nullable: true, example: 84 }) readonly duration_ms: number | null;
}

export function deliveryView(row: DeliveryRow, request: Payload | null): DeliveryView {
  return {
    id: row.id,
    type: row.type,
    subject: row.subject,
    status: row.status,
    attempts: row.attempts,
    created_at: row.createdAt.toISOString(),
    attempted_at: row.attemptedAt?.toISOString() ?? null,
    next_try_at: row.nextTryAt?.toISOString() ?? null,
    request,
    response_status: row.responseStatus,
    response_body: row.responseBody,
    error: row.error,
    duration_ms: row.durationMs,
  };
}

/** The answer of `GET /api/webhooks/:id/deliveries`. */
export class DeliveryListView {
  @ApiProperty({ type: [DeliveryView], description: 'Newest first.' })
  readonly deliveries: readonly DeliveryView[];
  @ApiNextCursor() readonly next_cursor: string | null;
}

import { ApiProperty } from '@nestjs/swagger';
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
  @ApiProperty({ format: 'uuid' })
  readonly id: string;
  @ApiProperty({ example: 'hooks.example.com', description: 'Host of the URL, with the port if the URL has one.' })
  readonly host: string;
  @ApiProperty({ description: 'True for a global webhook, which receives the events of all users.' })
  readonly for_all_users: boolean;
}

/** A webhook in answers. */
export class WebhookView {
  @ApiProperty({ format: 'uuid' })
  readonly id: string;
  @ApiProperty({ format: 'uuid', description: 'User who created it.' })
  readonly user_id: string;
  @ApiProperty({ example: 'https://hooks.example.com/berth' })
  readonly url: string;
  @ApiProperty({ type: String, nullable: true, example: 'the status page' })
  readonly description: string | null;
  @ApiProperty({ type: [String], nullable: true, example: ['container_started'], description: 'Null: all.' })
  readonly events: readonly string[] | null;
  @ApiProperty({ type: 'object', additionalProperties: { type: 'string' }, example: { team: 'core' } })
  readonly labels: Readonly<Record<string, string>>;
  @ApiProperty({ description: 'True for a global webhook, which receives the events of all users.' })
  readonly for_all_users: boolean;
  @ApiProperty({ enum: WEBHOOK_STATUSES, enumName: 'WebhookStatus' })
  readonly status: WebhookStatus;
  @ApiProperty({
    type: String,
    nullable: true,
    example: null,
    description: 'For a disabled webhook: `failing` (for too long) or `gone` (the receiver responded with 410).',
  })
  readonly status_reason: string | null;
  @ApiProperty({ type: 'integer', minimum: 0, example: 0, description: 'Number of pending deliveries.' })
  readonly waiting: number;
  @ApiProperty({ ...OPTIONAL_TIME, description: 'Start of the current failures; null if no delivery is failing.' })
  readonly failing_since: string | null;
  @ApiProperty({ ...OPTIONAL_TIME, description: 'Until when deliveries are also signed with the previous secret.' })
  readonly former_secret_until: string | null;
  @ApiProperty({ format: 'date-time' })
  readonly created_at: string;
  @ApiProperty({ format: 'date-time' })
  readonly updated_at: string;
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
  @ApiProperty({ type: 'integer', minimum: 0, example: 1, description: 'Number of webhooks in this response.' })
  readonly count: number;
  @ApiProperty({
    type: 'integer',
    minimum: 0,
    example: 5,
    description: "Maximum allowed by the user's tier; for global webhooks, the maximum per administrator.",
  })
  readonly limit: number;
  @ApiNextCursor()
  readonly next_cursor: string | null;
}

/** The answer of `DELETE /api/webhooks/:id`. */
export class WebhookDeletedView {
  @ApiProperty({ enum: ['webhook deleted'] })
  readonly message: string;
  @ApiProperty({ format: 'uuid' })
  readonly id: string;
}

/** The answer of `POST /api/webhooks/:id/rotate-secret`. */
export class SecretRotatedView {
  @ApiProperty({ format: 'uuid' })
  readonly id: string;
  @ApiProperty({ ...SECRET, description: 'New secret that signs the deliveries. Shown only once.' })
  readonly secret: string;
  @ApiProperty({ format: 'date-time', description: 'Until when deliveries are also signed with the previous secret.' })
  readonly former_secret_until: string;
}

/** What is sent to a webhook: an event without its `seq`. */
export class PayloadView {
  @ApiProperty({ example: 'container_started', description: 'Event type; webhook_test for a test.' })
  readonly type: string;
  @ApiProperty({ format: 'date-time' })
  readonly timestamp: string;
  @ApiProperty({ type: 'object', additionalProperties: true, description: 'As in the event.' })
  readonly data: object;
  @ApiProperty({
    type: String,
    format: 'uuid',
    required: false,
    description: 'Owner of the event; only for global webhooks.',
  })
  readonly user_id?: string;
}

/** A delivery, and what came of its last attempt. */
export class DeliveryView {
  @ApiProperty({ format: 'uuid', description: 'Also sent as webhook-id with every attempt.' })
  readonly id: string;
  @ApiProperty({
    example: 'container_started',
    description: 'Event type; events_lost if events were no longer stored.',
  })
  readonly type: string;
  @ApiProperty({
    example: '3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11',
    description: 'Subject of the event. Deliveries with the same subject are sent in order.',
  })
  readonly subject: string;
  @ApiProperty({ enum: DELIVERY_STATUSES, enumName: 'DeliveryStatus' })
  readonly status: DeliveryStatus;
  @ApiProperty({ type: 'integer', minimum: 0, example: 1 })
  readonly attempts: number;
  @ApiProperty({ format: 'date-time', description: 'When the event was emitted.' })
  readonly created_at: string;
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
  @ApiProperty({
    type: 'integer',
    nullable: true,
    minimum: 100,
    maximum: 999,
    example: 204,
    description: 'Null if there was no response.',
  })
  readonly response_status: number | null;
  @ApiProperty({ type: String, nullable: true, example: '', description: 'First 4,096 bytes of the response.' })
  readonly response_body: string | null;
  @ApiProperty({
    type: String,
    nullable: true,
    example: null,
    description:
      'Reason for the failure: status_refused, redirected, address_refused, name_not_resolved, connection_refused, ' +
      'connection_failed, certificate_refused or timed_out; or a sentence if events were lost.',
  })
  readonly error: string | null;
  @ApiProperty({ type: 'integer', nullable: true, minimum: 0, example: 84 })
  readonly duration_ms: number | null;
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
  @ApiNextCursor()
  readonly next_cursor: string | null;
}

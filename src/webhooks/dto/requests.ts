import { applyDecorators } from '@nestjs/common';
import { ApiProperty, ApiPropertyOptional, ApiSchema } from '@nestjs/swagger';
import {
  ArrayMaxSize,
  ArrayMinSize,
  ArrayUnique,
  IsArray,
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  Matches,
  Max,
  MaxLength,
  Min,
} from 'class-validator';
import { Choice, Count } from '../../api-fields';
import { Given, LabelsProperty } from '../../containers';
import { EVENT_TYPES } from '../../events';
import { BodyExample, PagedQuery, printable } from '../../http';
import { LONGEST_URL } from '../destinations';
import { DELIVERY_STATUSES, type DeliveryStatus } from '../webhook.entity';

const MAX_DESCRIPTION = 200;
const MAX_OVERLAP_SECONDS = 7 * 24 * 3600;

/** For how long deliveries are signed with the former secret too, if a rotation does not say. */
export const OVERLAP_SECONDS = 24 * 3600;

/** What a user may set: all of them may be active or paused; only Berth disables them. */
const SETTABLE = ['active', 'paused'] as const;

const UrlProperty = (): PropertyDecorator =>
  applyDecorators(
    ApiProperty({
      example: 'https://hooks.example.com/berth',
      description: 'An https URL at a public address. In networks allowed by the operator, http is allowed too.',
    }),
    IsString(),
    MaxLength(LONGEST_URL),
  );

const DescriptionProperty = (): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({ type: String, maxLength: MAX_DESCRIPTION, example: 'the status page' }),
    IsOptional(),
    IsString(),
    Matches(printable(MAX_DESCRIPTION), { message: `at most ${String(MAX_DESCRIPTION)} printable characters` }),
  );

const EventsProperty = (): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({
      type: 'array',
      items: { type: 'string', enum: [...EVENT_TYPES] },
      minItems: 1,
      example: ['container_started', 'container_stopped'],
      description: 'Event types to send. Null: all.',
    }),
    IsOptional(),
    IsArray({ message: 'must be an array' }),
    ArrayMinSize(1, { message: 'must name at least one type; null for all' }),
    ArrayMaxSize(EVENT_TYPES.length),
    ArrayUnique({ message: 'must not contain duplicates' }),
    IsIn([...EVENT_TYPES], { each: true, message: 'must be event types' }),
  );

const FilterProperty = (): PropertyDecorator =>
  applyDecorators(
    LabelsProperty(
      { team: 'core' },
      'Send only events of containers and snapshots that have all of these labels. Events of processes, agents, ' +
        'nodes and webhooks have no labels.',
    ),
    Given(),
  );

/** Body of `POST /api/webhooks` and `POST /api/admin/webhooks`. */
@BodyExample({ url: 'https://hooks.example.com/berth', events: ['container_started'] })
export class CreateWebhookDto {
  @UrlProperty()
  url: string;

  @DescriptionProperty()
  description?: string | null;

  @EventsProperty()
  events?: string[] | null;

  @FilterProperty()
  labels?: Record<string, string>;
}

/** Body of `PATCH /api/webhooks/:id`: absent fields stay as they are. */
@ApiSchema({ examples: [{ status: 'paused' }], minProperties: 1 } as object)
export class UpdateWebhookDto {
  @Given()
  @UrlProperty()
  url?: string;

  @DescriptionProperty()
  description?: string | null;

  @EventsProperty()
  events?: string[] | null;

  @FilterProperty()
  labels?: Record<string, string>;

  @Choice(SETTABLE, 'A paused webhook continues where it stopped, as far as the events are still stored.')
  @Given()
  @IsString()
  @IsIn(SETTABLE, { message: `must be one of ${SETTABLE.join(', ')}` })
  status?: (typeof SETTABLE)[number];
}

/** Body of `POST /api/webhooks/:id/rotate-secret`. */
@BodyExample({ overlap_seconds: 3600 })
export class RotateSecretDto {
  @Count('How long deliveries are also signed with the previous secret.', { default: OVERLAP_SECONDS })
  @Given()
  @IsInt()
  @Min(0)
  @Max(MAX_OVERLAP_SECONDS)
  overlap_seconds?: number;
}

/** Query of `GET /api/webhooks/:id/deliveries`. */
export class ListDeliveriesDto extends PagedQuery {
  @Choice(DELIVERY_STATUSES)
  @IsOptional()
  @IsIn(DELIVERY_STATUSES, { message: `must be one of ${DELIVERY_STATUSES.join(', ')}` })
  status?: DeliveryStatus;
}

import { applyDecorators } from '@nestjs/common';
import { ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn, IsOptional, IsString, Matches } from 'class-validator';
import { Choice, Text, Uuid } from '../../api-fields';
import { IsUuidText, PagedQuery, validatedBy } from '../../http';

/** RFC 3339, which has an offset: without one, a time depends on the reader's zone. */
const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)$/;

/** An optional moment. */
function Moment(description: string): PropertyDecorator {
  const isMoment = (value: unknown): boolean =>
    typeof value === 'string' && MOMENT.test(value) && !Number.isNaN(Date.parse(value));
  return applyDecorators(
    ApiPropertyOptional({ format: 'date-time', example: '2026-11-26T08:00:00Z', description }),
    IsOptional(),
    validatedBy('isMoment', isMoment, { message: '$property must be a time such as 2026-11-26T08:00:00Z' }),
  );
}

/** Query of `GET /api/audit`. */
export class ListAuditDto extends PagedQuery {
  @Uuid('Database id of a container, which may be deleted.')
  @IsOptional()
  @IsUuidText()
  container_id?: string;

  @Text('An action, or its prefix before the dot: `container` matches all container actions.', {
    example: 'container.start',
  })
  @IsOptional()
  @IsString()
  @Matches(/^[a-z_]{1,32}(\.[a-z_]{1,31})?$/, {
    message: 'action must be an action such as container.start, or its prefix',
  })
  action?: string;

  @Text('`ok`, `pending`, `failed` (any error), or an error code such as `no_capacity`.', { example: 'failed' })
  @IsOptional()
  @IsString()
  @Matches(/^[a-z_]{1,64}$/, { message: 'outcome must be ok, pending, failed or an error code' })
  outcome?: string;

  @Moment('Started at or after this time.')
  from?: string;

  @Moment('Started before this time.')
  to?: string;

  @Choice(['true', 'false'], 'Include entries of all users; requires the scope `admin`.')
  @IsOptional()
  @IsIn(['true', 'false'])
  all?: 'true' | 'false';

  @Uuid('Filter by user; requires the scope `admin`.')
  @IsOptional()
  @IsUuidText()
  user_id?: string;
}

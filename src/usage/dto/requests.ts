import { applyDecorators } from '@nestjs/common';
import { ApiPropertyOptional } from '@nestjs/swagger';
import { IsOptional } from 'class-validator';
import { Uuid } from '../../api-fields';
import { IsUuidText, PagedQuery, validatedBy } from '../../http';

const FORM = /^\d{4}-\d{2}-\d{2}$/;

function isDay(value: unknown): boolean {
  if (typeof value !== 'string' || !FORM.test(value)) return false;
  const day = new Date(value);
  // Some engines parse 31 February as a day in March.
  return !Number.isNaN(day.getTime()) && day.toISOString().startsWith(value);
}

/** An optional query parameter with a UTC day. */
function Day(description: string): PropertyDecorator {
  return applyDecorators(
    ApiPropertyOptional({ format: 'date', example: '2026-11-26', description }),
    IsOptional(),
    validatedBy('isDay', isDay, { message: '$property must be a day such as 2026-11-26' }),
  );
}

const FROM = 'First UTC day. Default: 30 days before the last one. At most 366 days.';
const TO = 'Last UTC day, inclusive. Default: today.';

/** Query of `GET /api/usage`. */
export class UsageRangeDto {
  @Day(FROM)
  from?: string;

  @Day(TO)
  to?: string;
}

/** Query of `GET /api/admin/usage`. */
export class ListUsageDto extends PagedQuery {
  @Day(FROM)
  from?: string;

  @Day(TO)
  to?: string;

  @Uuid('Filter by user; includes deleted users.')
  @IsOptional()
  @IsUuidText()
  user_id?: string;
}

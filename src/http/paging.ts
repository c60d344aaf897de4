import { applyDecorators } from '@nestjs/common';
import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Transform, type TransformFnParams } from 'class-transformer';
import { IsInt, IsOptional, IsString, Matches, Max, Min } from 'class-validator';
import { Text } from '../api-fields';
import { invalidParameters } from '../errors';

/** The last entry of a page. Lists are ordered newest first, and by id among entries of one time. */
interface PageEnd {
  readonly createdAt: Date;
  readonly id: string;
}

const FORM = /^(\d{1,15}) ([0-9a-f-]{36})$/;

/** Encodes the end of a page as the `cursor` of the next. It is opaque to clients, so the order may change. */
export function encodeCursor({ createdAt, id }: PageEnd): string {
  return Buffer.from(`${String(createdAt.getTime())} ${id}`).toString('base64url');
}

/** @throws DomainError `invalid_parameters` for text that `encodeCursor` did not make */
export function decodeCursor(cursor: string): PageEnd {
  const [, time, id] = FORM.exec(Buffer.from(cursor, 'base64url').toString()) ?? [];
  if (time === undefined || id === undefined) {
    throw invalidParameters([{ field: 'cursor', message: 'cursor must be a next_cursor of an earlier response' }]);
  }
  return { createdAt: new Date(Number(time)), id };
}

const DEFAULT_PAGE = 100;

/** One page of a list, and the cursor of the next page; null on the last. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly next_cursor: string | null;
}

/**
 * Reads one page of a list that is ordered by time and id, newest first.
 *
 * @param read returns at most `limit` entries after `after`; called with one extra row to detect the last page
 * @throws DomainError `invalid_parameters` for an invalid cursor
 */
export async function readPage<T>(
  { limit = DEFAULT_PAGE, cursor }: { readonly limit?: number; readonly cursor?: string },
  read: (range: { limit: number; after?: PageEnd }) => Promise<readonly T[]>,
  endOf: (item: T) => PageEnd,
): Promise<Page<T>> {
  const found = await read({ limit: limit + 1, ...(cursor !== undefined && { after: decodeCursor(cursor) }) });
  const items = found.slice(0, limit);
  const last = found.length > limit ? items.at(-1) : undefined;
  return { items, next_cursor: last ? encodeCursor(endOf(last)) : null };
}

/** Converts plain decimal digits of a query string into a number; leaves other text for the validator to refuse. */
function integerFromQuery({ value }: TransformFnParams): unknown {
  return typeof value === 'string' && /^[0-9]{1,16}$/.test(value) ? Number(value) : value;
}

/** An optional whole number in a query. */
export function QueryInteger({
  min,
  max = Number.MAX_SAFE_INTEGER,
  ...documented
}: {
  readonly min: number;
  readonly max?: number;
  readonly default?: number;
  readonly description?: string;
}): PropertyDecorator {
  // From the last to the first: decorators above a property are evaluated in this order.
  return applyDecorators(
    Max(max),
    Min(min),
    IsInt(),
    Transform(integerFromQuery),
    IsOptional(),
    ApiPropertyOptional({ type: 'integer', ...documented }),
  );
}

/** Maximum page size. */
const LARGEST = 200;

/** The query of a paged list; subclasses add filters. */
export class PagedQuery {
  @QueryInteger({ min: 1, max: LARGEST, default: DEFAULT_PAGE })
  limit?: number;

  @Text('`next_cursor` of the previous page.')
  @IsOptional()
  @IsString()
  @Matches(/^[A-Za-z0-9_-]{1,128}$/, { message: 'cursor must be a next_cursor of an earlier response' })
  cursor?: string;
}

/** The field of an answer with the cursor of the next page. */
export const ApiNextCursor = (): PropertyDecorator =>
  ApiProperty({
    type: String,
    nullable: true,
    example: null,
    description: 'Value of "cursor" for the next page; null on the last page.',
  });

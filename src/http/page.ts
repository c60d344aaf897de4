import { decodeCursor, encodeCursor, type PageEnd } from './page-cursor';

const DEFAULT_PAGE = 100;

/** Some of a list, and where the next of it begin. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly next_cursor: string | null;
}

/**
 * One page of a list that is ordered by time and id, newest first.
 *
 * @param read gives at most `limit` entries from behind `after`; it is asked for one more than the page has, so that the last
 *   page is known for the last
 * @throws DomainError `invalid_parameters` for a cursor that is none
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

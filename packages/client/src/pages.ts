import type { CallOptions, Http, Query } from './http.ts';

/** One page of a list. */
export interface Page<Item, Whole = unknown> {
  readonly items: readonly Item[];
  /** The answer as the server gave it. */
  readonly answer: Whole;
  /** What asks for the next page; null on the last. */
  readonly nextCursor: string | null;
}

/**
 * A list that comes in pages. `for await` goes through all items, and asks for a page once it needs it.
 */
export class Pages<Item, Whole = unknown> implements AsyncIterable<Item> {
  constructor(private readonly read: (cursor: string | undefined) => Promise<Page<Item, Whole>>) {}

  /** @param cursor `nextCursor` of the page before; the first if absent */
  page(cursor?: string): Promise<Page<Item, Whole>> {
    return this.read(cursor);
  }

  /** All pages, one after the other. */
  async *pages(): AsyncGenerator<Page<Item, Whole>, void, undefined> {
    for (let cursor: string | undefined; ;) {
      const page = await this.read(cursor);
      yield page;
      if (page.nextCursor === null) return;
      cursor = page.nextCursor;
    }
  }

  /** @returns all items. Of a long list rather go through it */
  async all(): Promise<Item[]> {
    const items: Item[] = [];
    for await (const item of this) items.push(item);
    return items;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Item, void, undefined> {
    for await (const page of this.pages()) yield* page.items;
  }
}

/** The list of a route. @param items those of an answer */
export function pagesOf<Item, Whole extends { readonly next_cursor: string | null }>(
  http: Http,
  route: string,
  { query, signal }: CallOptions & { readonly query: Query },
  items: (answer: Whole) => Item[],
): Pages<Item, Whole> {
  return new Pages(async (cursor) => {
    const answer = await http.json<Whole>('GET', route, { query: { ...query, cursor }, signal });
    return { items: items(answer), answer, nextCursor: answer.next_cursor };
  });
}

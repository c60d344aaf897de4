import type { CallOptions, Http, Query } from './http.ts';

/** One page of a list. */
export interface Page<Item, Whole = unknown> {
  readonly items: readonly Item[];
  /** The server's answer. */
  readonly answer: Whole;
  /** The cursor of the next page; null on the last. */
  readonly nextCursor: string | null;
}

/** A paged list. `for await` iterates over all items, and reads each page when it is needed. */
export class Pages<Item, Whole = unknown> implements AsyncIterable<Item> {
  constructor(private readonly read: (cursor: string | undefined) => Promise<Page<Item, Whole>>) {}

  /** @param cursor `nextCursor` of the previous page; absent for the first */
  page(cursor?: string): Promise<Page<Item, Whole>> {
    return this.read(cursor);
  }

  /** Iterates over all pages. */
  async *pages(): AsyncGenerator<Page<Item, Whole>, void, undefined> {
    for (let cursor: string | undefined; ;) {
      const page = await this.read(cursor);
      yield page;
      if (page.nextCursor === null) return;
      cursor = page.nextCursor;
    }
  }

  /** @returns all items. For a long list, prefer `for await` */
  async all(): Promise<Item[]> {
    const items: Item[] = [];
    for await (const item of this) items.push(item);
    return items;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Item, void, undefined> {
    for await (const page of this.pages()) yield* page.items;
  }
}

/** The paged list of a route. @param items returns the items of an answer */
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

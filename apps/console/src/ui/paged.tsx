import type { Pages } from '@berth/client';
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { partWords } from '../words/parts';
import { Fault, WorkButton } from './parts';

/** How often a list was asked for again; {@link Paged} ends each round. */
interface Rounds {
  readonly current: number;
  /** Reads the list again. Done when it is read, or has failed and says so. */
  readonly next: () => Promise<void>;
  readonly end: () => void;
}

export function useRounds(): Rounds {
  const [current, setCurrent] = useState(0);
  const waiting = useRef<(() => void)[]>([]);
  const next = (): Promise<void> => {
    setCurrent((before) => before + 1);
    return new Promise((resolve) => waiting.current.push(resolve));
  };
  const end = (): void => {
    for (const done of waiting.current.splice(0)) done();
  };
  return { current, next, end };
}

interface PagedProps<Item> {
  readonly list: () => Pages<Item>;
  /** What the list depends on: with another value, or in another round, it is read from its beginning. */
  readonly of: string;
  readonly rounds: Rounds;
  readonly empty: ComponentChildren;
  readonly children: (items: readonly Item[]) => ComponentChildren;
}

interface Read<Item> {
  /** What it was read for. */
  readonly of: string;
  readonly items: readonly Item[];
  readonly next: string | null;
}

/** A long list, whose next page is read when it is asked for. */
export function Paged<Item>({ list, of: filter, rounds, empty, children }: PagedProps<Item>): JSX.Element {
  const of = `${filter} ${String(rounds.current)}`;
  const [shown, setShown] = useState<Read<Item> | null>(null);
  const [fault, setFault] = useState<{ readonly of: string; readonly error: unknown } | null>(null);
  const latest = useRef(of);
  latest.current = of;

  const read = async (before?: Read<Item>): Promise<void> => {
    const page = await list().page(before?.next ?? undefined);
    if (of !== latest.current) return;
    setShown({ of, items: [...(before?.items ?? []), ...page.items], next: page.nextCursor });
    setFault(null);
  };
  useEffect(() => {
    const own = of;
    read()
      .catch((error: unknown) => own === latest.current && setFault({ of, error }))
      .finally(() => own === latest.current && rounds.end());
  }, [of]);
  useEffect(() => rounds.end, []);

  const hasFailed = fault?.of === of;
  const isStale = shown !== null && shown.of !== of;
  return (
    <>
      {hasFailed && <Fault of={fault.error} />}
      {shown === null ? (
        !hasFailed && (
          <p class="muted" role="status">
            {partWords.loading}
          </p>
        )
      ) : (
        <div class={isStale ? 'panel stale' : 'panel'} aria-busy={isStale && !hasFailed}>
          {shown.items.length === 0 ? empty : children(shown.items)}
          {shown.next !== null && (
            <div class="more-rows">
              <WorkButton isBlocked={isStale} run={() => read(shown)}>
                {partWords.showMore}
              </WorkButton>
            </div>
          )}
        </div>
      )}
    </>
  );
}

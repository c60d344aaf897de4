import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { BerthEvent } from '@berth/client';
import { berth } from '../data/berth';
import { events } from '../data/live';
import { Empty, PageHead, Shown, useLoaded } from '../ui/parts';
import { eventsWords } from '../words/events';
import { EventList } from './event-list';

/** How many of the past are read. */
const PAST = 100;

/** The last ones before now; those that come later are in the live feed already. */
export async function readPast(): Promise<readonly BerthEvent[]> {
  const { answer } = await berth.containers.list({ limit: 1 }).page();
  const page = await berth.events.page(Math.max(0, answer.event_seq - PAST), { limit: PAST });
  return page.events.reverse();
}

/** The newest first, each once. */
export function joined(live: readonly BerthEvent[], past: readonly BerthEvent[]): readonly BerthEvent[] {
  const oldest = live.at(-1)?.seq ?? Infinity;
  return [...live, ...past.filter(({ seq }) => seq < oldest)];
}

/** What happens, as it happens. */
export function Events(): JSX.Element {
  const past = useLoaded(readPast);
  const [withProgress, setWithProgress] = useState(false);
  return (
    <>
      <PageHead title={eventsWords.title} aside={<span class="muted">{eventsWords.hint}</span>}>
        <label class="check">
          <input
            type="checkbox"
            checked={withProgress}
            onChange={(event) => setWithProgress(event.currentTarget.checked)}
          />
          {eventsWords.withProgress}
        </label>
      </PageHead>
      <Shown of={past}>
        {(before) => {
          const shown = joined(events.value, before).filter(({ type }) => withProgress || !type.endsWith('_progress'));
          return shown.length === 0 ? (
            <div class="panel">
              <Empty title={eventsWords.none.title}>
                <p>{eventsWords.none.hint}</p>
              </Empty>
            </div>
          ) : (
            <EventList events={shown} />
          );
        }}
      </Shown>
    </>
  );
}

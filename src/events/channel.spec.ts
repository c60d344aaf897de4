import fc from 'fast-check';
import { Subscriber, UserChannel, UserEvents } from './channel';
import { BerthEvent } from './map';

/** Events 1…`committed` of one user, behind a database that answers when the test says so, and may fail. */
class SlowEvents implements UserEvents {
  committed = 0;
  oldest = 1;
  readonly waiting: (() => void)[] = [];

  constructor(private readonly page = 3) {}

  event(seq: number): BerthEvent {
    return { type: 'container_progress', seq, timestamp: '', data: { message: String(seq) } } as unknown as BerthEvent;
  }

  read(after: number): Promise<BerthEvent[]> {
    return this.later(() => {
      const events: BerthEvent[] = [];
      for (let seq = Math.max(after + 1, this.oldest); seq <= this.committed && events.length < this.page; seq += 1) {
        events.push(this.event(seq));
      }
      return events;
    });
  }

  lastSeq(): Promise<number> {
    return this.later(() => this.committed);
  }

  /** The database sees what is committed when the question comes in; its answer may be long on the way. */
  private later<T>(ask: () => T): Promise<T> {
    const answer = ask();
    return new Promise((resolve) => this.waiting.push(() => resolve(answer)));
  }
}

type Act = { do: 'commit'; tell: 'offer' | 'hint' | 'nothing' } | { do: 'subscribe'; back: number } | { do: 'answer' };

const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('commit' as const), tell: fc.constantFrom('offer', 'hint', 'nothing') }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('subscribe' as const), back: fc.nat(8) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('answer' as const) }) },
);

const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

function subscriber(onEvent: (event: BerthEvent) => void, onResyncRequired: (seq: number) => void = () => undefined) {
  return new Subscriber({ userId: 'u', onEvent, onResyncRequired }, () => undefined);
}

async function answerAll(events: SlowEvents): Promise<void> {
  do {
    events.waiting.splice(0).forEach((answer) => answer());
    await settle();
  } while (events.waiting.length > 0);
}

async function started(
  committed: number,
): Promise<{ events: SlowEvents; channel: UserChannel; told: (number | string)[] }> {
  const events = new SlowEvents();
  events.committed = committed;
  const channel = new UserChannel(events, () => undefined);
  const present = channel.present();
  await answerAll(events);
  const told: (number | string)[] = [];
  const follower = subscriber(
    ({ seq }) => told.push(seq),
    (seq) => told.push(`resync ${seq}`),
  );
  follower.startAt(await present);
  channel.join(follower);
  return { events, channel, told };
}

describe('a user’s channel', () => {
  it('must send every subscriber exactly after+1…n, however commits, hints, answers and subscriptions interleave', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(act, { maxLength: 60 }), async (acts) => {
        const events = new SlowEvents();
        events.committed = 5;
        const channel = new UserChannel(events, () => undefined);
        const followers: { after: number; told: number[] }[] = [];
        for (const next of acts) {
          if (next.do === 'answer') events.waiting.shift()?.();
          if (next.do === 'commit') {
            events.committed += 1;
            if (next.tell === 'offer') channel.offer([events.event(events.committed)]);
            if (next.tell === 'hint') channel.hint(events.committed);
          }
          if (next.do === 'subscribe') {
            const after = Math.max(events.committed - next.back, 0);
            const told: number[] = [];
            followers.push({ after, told });
            const follower = subscriber(({ seq }) => told.push(seq));
            follower.startAt(after);
            void channel.present().then(() => channel.replay(follower));
          }
          await settle();
        }
        channel.hint(events.committed);
        await answerAll(events);
        for (const { after, told } of followers) {
          expect(told).toEqual(Array.from({ length: events.committed - after }, (_, index) => after + 1 + index));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('must deliver what is offered in turn at once, and what comes early in its turn', async () => {
    const { events, channel, told } = await started(2);
    events.committed = 4;
    channel.offer([events.event(4)]);
    expect(told).toEqual([]);
    channel.offer([events.event(3)]);
    expect(told).toEqual([3, 4]);
    await answerAll(events);
    expect(told).toEqual([3, 4]);
  });

  it('must go back to rest after a hint of what does not exist', async () => {
    const { events, channel, told } = await started(2);
    channel.hint(1_000);
    await answerAll(events);
    events.committed = 3;
    channel.hint(3);
    await answerAll(events);
    expect(told).toEqual([3]);
  });

  it('must ask live subscribers for a resync when events are pruned before they were delivered', async () => {
    const { events, channel, told } = await started(2);
    events.committed = 6;
    events.oldest = 5;
    channel.hint(6);
    await answerAll(events);
    events.committed = 7;
    events.oldest = 8;
    channel.hint(7);
    await answerAll(events);
    channel.offer([events.event(8)]);
    expect(told).toEqual(['resync 6', 'resync 7', 8]);
  });

  it('must keep the order for all when a subscriber’s callback commits again', async () => {
    const { events, channel, told } = await started(0);
    const eager = subscriber(({ seq }) => seq < 5 && channel.offer([events.event(seq + 1)]));
    const last: number[] = [];
    channel.join(eager);
    channel.join(subscriber(({ seq }) => last.push(seq)));
    channel.offer([events.event(1)]);
    expect([told, last]).toEqual([
      [1, 2, 3, 4, 5],
      [1, 2, 3, 4, 5],
    ]);
  });
});

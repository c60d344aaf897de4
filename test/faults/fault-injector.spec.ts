import { type Begin, FaultInjector, Turns } from './fault-injector';
import type { Journal } from './journal';
import { inTime } from './settling';

describe('a fault whose turn comes after the traffic', () => {
  it('must be made only if none of its kind was', async () => {
    const turns = new Turns();
    const made: string[] = [];
    let free = (): void => undefined;
    const taken = new Promise<void>((resolve) => (free = resolve));
    void turns.take('locks', () => taken);
    const act = (fault: string) => (begin: Begin) =>
      turns.take('locks', () => {
        begin();
        made.push(fault);
        return Promise.resolve(fault);
      });
    const notes: string[] = [];
    const journal = { note: (_kind: string, what: string) => notes.push(what) } as unknown as Journal;
    const schedule = (['pause', 'silence', 'pause'] as const).map((fault) => ({ fault, before: 1 }));
    const injector = new FaultInjector(schedule, { pause: act('pause'), silence: act('silence') }, journal);
    injector.onOperation(1);
    const over = injector.over();
    expect(injector.left()).toEqual(['pause of operation 1', 'silence of operation 1', 'pause of operation 1']);
    free();
    await over;
    expect(made).toEqual(['pause', 'silence']);
    expect(notes.sort()).toEqual(['pause', 'pause in vain', 'silence']);
    expect(injector.left()).toEqual([]);
  });
});

describe('what does not come to an end', () => {
  it('must fail in its time, and tell what is left', async () => {
    const never = new Promise<never>(() => undefined);
    const left = (): string[] => ['the one', 'the other'];
    await expect(inTime(1, never, { what: 'the work', left })).rejects.toThrow(
      'the work did not come to an end in 1 ms:\n  the one\n  the other',
    );
    expect(await inTime(60_000, Promise.resolve('done'), { what: 'the work', left })).toBe('done');
  });
});

import { setImmediate } from 'node:timers/promises';
import { FairLimiter } from './fair-limiter';

/** Work that ends when it is told to. */
class Work {
  readonly begun: string[] = [];
  private readonly ends = new Map<string, () => void>();

  constructor(private readonly limiter: FairLimiter) {}

  add(...names: string[]): void {
    for (const name of names) {
      const begin = (): Promise<void> => {
        this.begun.push(name);
        return new Promise((resolve) => this.ends.set(name, resolve));
      };
      // The key is the letter of `a1`.
      void this.limiter.run(name.slice(0, 1), begin);
    }
  }

  async end(name: string): Promise<void> {
    this.ends.get(name)?.();
    await setImmediate();
  }
}

describe('work of many keys', () => {
  it('must run so much at once, of each key its share, and the rest by turns', async () => {
    const work = new Work(new FairLimiter({ atOnce: 4, perKey: 2 }));
    work.add('a1', 'a2', 'a3', 'a4', 'b1');
    await setImmediate();
    expect(work.begun).toEqual(['a1', 'a2', 'b1']);
    work.add('c1', 'c2', 'd1', 'b2');
    await setImmediate();
    expect(work.begun).toEqual(['a1', 'a2', 'b1', 'c1']);
    // The first that waits has its share.
    await work.end('c1');
    expect(work.begun.at(-1)).toBe('c2');
    // Then it has its turn, and none again before the others.
    await work.end('a1');
    expect(work.begun.at(-1)).toBe('a3');
    await work.end('a2');
    await work.end('a3');
    expect(work.begun.slice(-2)).toEqual(['d1', 'b2']);
    await work.end('b1');
    expect(work.begun.at(-1)).toBe('a4');
  });

  it('must give the room of what fails to the next, and report the failure', async () => {
    const limiter = new FairLimiter({ atOnce: 1, perKey: 1 });
    const failing = limiter.run('a', () => Promise.reject(new Error('failed')));
    const next = limiter.run('a', () => Promise.resolve('done'));
    await expect(failing).rejects.toThrow('failed');
    await expect(next).resolves.toBe('done');
  });

  it('must remember no key whose work is over', async () => {
    const limiter = new FairLimiter({ atOnce: 2, perKey: 1 });
    const keys = Array.from({ length: 50 }, (_each, at) => String(at));
    await Promise.all(keys.map((key) => limiter.run(key, () => Promise.resolve())));
    const { running, waiting } = limiter as unknown as {
      running: { taken: Map<string, number> };
      waiting: Map<string, unknown>;
    };
    expect([running.taken.size, waiting.size]).toEqual([0, 0]);
  });
});

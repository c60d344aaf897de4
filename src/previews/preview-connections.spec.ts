import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { Bucket, Buckets, Pace } from './preview-connections';

describe('how fast bytes pass', () => {
  it('must be the limit over any time, with a second of it at once', () => {
    const bucket = new Bucket(1_000, 0);
    expect(bucket.take(1_000, 0)).toBe(0);
    expect(bucket.take(500, 0)).toBe(500);
    expect(bucket.take(500, 0)).toBe(1_000);
    expect(bucket.take(0, 1_000)).toBe(0);
    expect(bucket.take(1_000, 1_500)).toBe(500);
    // What was not used for long is no more than a second's.
    expect(bucket.take(2_000, 60_000)).toBe(1_000);
  });

  it('must be shared by the connections of a user, until the limit is another', () => {
    const buckets = new Buckets();
    expect(buckets.of('a', 10)).toBe(buckets.of('a', 10));
    expect(buckets.of('a', 10)).not.toBe(buckets.of('b', 10));
    expect(buckets.of('a', 10)).not.toBe(buckets.of('a', 20));
  });

  it('must delay, and not change what passes', async () => {
    const bytes = Buffer.alloc(150_000, 'abc');
    const began = performance.now();
    const passed = await buffer(
      Readable.from([bytes.subarray(0, 110_000), bytes.subarray(110_000)]).pipe(new Pace(new Bucket(100_000))),
    );
    expect(passed.equals(bytes)).toBe(true);
    expect(performance.now() - began).toBeGreaterThan(400);
  });
});

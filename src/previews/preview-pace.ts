import { Transform, type TransformCallback } from 'node:stream';

/** Bytes may pass at once that were not used for so long. */
const BURST_MS = 1_000;
/** What is left alone of a bucket costs no memory; it is full again after {@link BURST_MS}. */
const FORGET_AFTER_MS = 10_000;

/** How fast the bytes of one user's previews pass in this process: a token bucket. */
export class Bucket {
  private allowed: number;
  private at: number;

  constructor(
    private readonly bytesPerSecond: number,
    now = performance.now(),
  ) {
    this.allowed = this.burst;
    this.at = now;
  }

  /** Takes bytes that pass. @returns after how many milliseconds they may do so; later ones wait for them */
  take(bytes: number, now = performance.now()): number {
    this.allowed = Math.min(this.burst, this.allowed + ((now - this.at) / 1000) * this.bytesPerSecond) - bytes;
    this.at = now;
    return this.allowed >= 0 ? 0 : (-this.allowed / this.bytesPerSecond) * 1000;
  }

  isIdle(now = performance.now()): boolean {
    return now - this.at > FORGET_AFTER_MS;
  }

  private get burst(): number {
    return (this.bytesPerSecond * BURST_MS) / 1000;
  }
}

/** The buckets of users whose tier limits how fast bytes pass. */
export class Buckets {
  private readonly byUser = new Map<string, { readonly bytesPerSecond: number; readonly bucket: Bucket }>();

  /** Shared by all connections of the user; a new one if the tier's limit has changed. */
  of(userId: string, bytesPerSecond: number): Bucket {
    const known = this.byUser.get(userId);
    if (known?.bytesPerSecond === bytesPerSecond) return known.bucket;
    for (const [key, { bucket }] of this.byUser) if (bucket.isIdle()) this.byUser.delete(key);
    const bucket = new Bucket(bytesPerSecond);
    this.byUser.set(userId, { bytesPerSecond, bucket });
    return bucket;
  }
}

/** Lets bytes pass as fast as a bucket allows. */
export class Pace extends Transform {
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly bucket: Bucket) {
    super();
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    const ms = this.bucket.take(chunk.length);
    if (ms === 0) done(null, chunk);
    else this.timer = setTimeout(() => done(null, chunk), ms);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    clearTimeout(this.timer);
    done(error);
  }
}

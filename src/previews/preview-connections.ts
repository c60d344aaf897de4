import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import { Transform, type TransformCallback } from 'node:stream';
import { type ConnectionGroup, type OpenConnection, OpenConnections } from '../auth';
import type { Caller } from '../containers';
import { DomainError } from '../errors';
import { LOGGER, type Logger } from '../logging';
import { KeyedLimiter } from '../scheduling';
import { TiersService } from '../tiers';
import type { Admission } from './preview-access';

/** Finds what no signal has told. */
const RECHECK_MS = 2_000;

/** A request or WebSocket that is open. */
export interface OpenPreview extends OpenConnection {
  /** As it was last decided. */
  admission: Admission;
  /** Decides anew whether the visitor may see the port. @throws DomainError if not */
  readonly recheck: () => Promise<Admission>;
}

/**
 * The open connections of previews in this process. Each ends when its visitor may not see the port any more, and when
 * the container stops, is deleted, or is started again.
 */
@Injectable()
export class PreviewConnections implements OnModuleDestroy {
  private readonly open: ConnectionGroup<OpenPreview>;
  private readonly limiter = new KeyedLimiter();
  private readonly buckets = new Buckets();

  constructor(
    private readonly tiers: TiersService,
    connections: OpenConnections,
    @Inject(LOGGER) logger: Logger,
  ) {
    this.open = connections.group({
      everyMs: RECHECK_MS,
      round: () => isStillAdmitted,
      signals: {
        user_events: ofUser,
        user_suspended: ofUser,
        user_moved: ofUser,
        token_revoked: ({ admission }) => admission.by === 'token',
        previews_changed: ({ admission }, { containerId }) => admission.containerId === containerId,
      },
      onFault: (error) => logger.warn({ err: error }, 'whether open previews may stay open could not be checked'),
    });
  }

  onModuleDestroy(): void {
    this.open.close();
  }

  /**
   * Counts a request or WebSocket for the owner of its container, also while it waits for the container.
   *
   * @returns a function to be called once, when it has ended
   * @throws DomainError `too_many_connections` if the owner's tier allows no more
   */
  enter({ userId, tier }: Caller): () => void {
    const leave = this.limiter.take(userId, this.tiers.limitsOf(tier).previewConnections);
    if (!leave) throw new DomainError('too_many_connections', { retryAfter: 1 });
    return leave;
  }

  /** How fast bytes of the user's previews may pass; null: no limit. */
  bucketOf({ userId, tier }: Caller): Bucket | null {
    const kib = this.tiers.limitsOf(tier).previewKibPerSecond;
    return kib === null ? null : this.buckets.of(userId, kib * 1024);
  }

  /** Ends the connection when its visitor loses access. @returns a function that stops watching it */
  watch(preview: OpenPreview): () => void {
    return this.open.add(preview);
  }
}

function ofUser({ admission }: OpenPreview, { userId }: { readonly userId: string }): boolean {
  return admission.owner.userId === userId;
}

/** @throws what is no refusal, such as an error of the database */
async function isStillAdmitted(preview: OpenPreview): Promise<boolean> {
  const { engineId, runStartedAt } = preview.admission;
  try {
    const now = await preview.recheck();
    // Just after a start, the row does not have the time of the start yet.
    const isSameRun = now.engineId === engineId && (runStartedAt === null || now.runStartedAt === runStartedAt);
    preview.admission = now;
    // A paused container keeps its connections.
    return isSameRun && (now.status === 'running' || now.status === 'paused');
  } catch (error) {
    if (error instanceof DomainError && !error.isServerFault) return false;
    throw error;
  }
}

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

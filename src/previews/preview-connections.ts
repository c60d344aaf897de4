import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import type { Caller } from '../containers';
import { DomainError } from '../errors';
import { LOGGER, type Logger } from '../logging';
import { KeyedLimiter, OpenWork } from '../scheduling';
import { Signals } from '../signals';
import { TiersService } from '../tiers';
import type { Admission } from './preview-access';
import { type Bucket, Buckets } from './preview-pace';

/** Finds what no signal has told. */
const RECHECK_MS = 2_000;

/** A request or WebSocket that is open. */
export interface OpenPreview {
  /** As it was last decided. */
  admission: Admission;
  /** Decides anew whether the visitor may see the port. @throws DomainError if not */
  readonly recheck: () => Promise<Admission>;
  /** Closes the connections of both sides. */
  readonly end: () => void;
}

/**
 * The open connections of previews in this process. Each ends when its visitor may not see the port any more, and when
 * the container stops, is deleted, or is started again.
 */
@Injectable()
export class PreviewConnections implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly open: OpenWork<OpenPreview>;
  private readonly places = new KeyedLimiter();
  private readonly buckets = new Buckets();
  private readonly stopListening: readonly (() => void)[];

  constructor(
    private readonly tiers: TiersService,
    signals: Signals,
    @Inject(LOGGER) logger: Logger,
  ) {
    this.open = new OpenWork({
      everyMs: RECHECK_MS,
      check: () => isStillAdmitted,
      onFault: (error) => logger.warn({ err: error }, 'whether open previews may stay open could not be checked'),
    });
    const ofUser = ({ userId }: { userId: string }): void =>
      this.open.checkNow(({ admission }) => admission.owner.userId === userId);
    this.stopListening = [
      signals.on('user_events', ofUser),
      signals.on('user_suspended', ofUser),
      signals.on('user_moved', ofUser),
      signals.on('token_revoked', () => this.open.checkNow(({ admission }) => admission.by === 'token')),
      signals.on('previews_changed', ({ containerId }) =>
        this.open.checkNow(({ admission }) => admission.containerId === containerId),
      ),
    ];
  }

  onApplicationBootstrap(): void {
    this.open.start();
  }

  onModuleDestroy(): void {
    for (const stop of this.stopListening) stop();
    this.open.close();
  }

  /**
   * Counts a request or WebSocket for the owner of its container, also while it waits for the container.
   *
   * @returns a function to be called once, when it has ended
   * @throws DomainError `too_many_connections` if the owner's tier allows no more
   */
  enter({ userId, tier }: Caller): () => void {
    const leave = this.places.take(userId, this.tiers.limitsOf(tier).previewConnections);
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

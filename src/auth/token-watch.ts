import { Injectable, Logger, OnApplicationBootstrap, OnApplicationShutdown } from '@nestjs/common';
import { Clock, Poll } from '../scheduling';
import { Signals } from '../signals';
import { TokenService } from './token.service';

/** `setTimeout` fires at once for a longer delay. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Finds revocations whose signal was lost. */
const RECHECK_MS = 30_000;

/** A token that was verified just before its revocation may be watched just after it. */
const REMEMBER_REVOKED_MS = 60_000;

interface Watched {
  readonly onEnd: Set<() => void>;
  timer: NodeJS.Timeout | undefined;
}

/**
 * Watches tokens that outlive a request, as on a socket: reports when one is revoked or expires, or its user is
 * suspended.
 */
@Injectable()
export class TokenWatch implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger(TokenWatch.name);
  private readonly tokens = new Map<string, Watched>();
  private readonly revoked = new Set<string>();
  private readonly poll: Poll;
  private readonly stopListening: readonly (() => void)[];

  constructor(
    private readonly service: TokenService,
    private readonly clock: Clock,
    signals: Signals,
  ) {
    this.stopListening = [
      signals.on('token_revoked', ({ tokenId }) => this.revoke(tokenId)),
      signals.on('user_suspended', () => this.recheckNow()),
    ];
    this.poll = new Poll({
      everyMs: RECHECK_MS,
      work: () => this.recheck(),
      onFault: (error) => this.noteFault(error),
    });
  }

  onApplicationBootstrap(): void {
    this.poll.start();
  }

  onApplicationShutdown(): void {
    this.poll.stop();
    for (const stop of this.stopListening) stop();
    for (const { timer } of this.tokens.values()) clearTimeout(timer);
    this.tokens.clear();
  }

  /**
   * Calls `onEnd` once when the token becomes invalid; immediately if it was just revoked.
   *
   * @returns a function that stops watching
   */
  watch({ tokenId, expiresAt, onEnd }: { tokenId: string; expiresAt: Date | null; onEnd: () => void }): () => void {
    if (this.revoked.has(tokenId)) {
      onEnd();
      return () => undefined;
    }
    const watched = this.tokens.get(tokenId) ?? { onEnd: new Set(), timer: undefined };
    watched.onEnd.add(onEnd);
    this.tokens.set(tokenId, watched);
    if (expiresAt && !watched.timer) this.armTimer(tokenId, watched, expiresAt);
    return () => {
      watched.onEnd.delete(onEnd);
      if (watched.onEnd.size > 0 || this.tokens.get(tokenId) !== watched) return;
      clearTimeout(watched.timer);
      this.tokens.delete(tokenId);
    };
  }

  /** Checks all watched tokens in the database. */
  async recheck(): Promise<void> {
    const ids = [...this.tokens.keys()];
    if (ids.length === 0) return;
    const valid = await this.service.stillValid(ids);
    for (const id of ids) if (!valid.has(id)) this.end(id);
  }

  private recheckNow(): void {
    this.recheck().catch((error: unknown) => this.noteFault(error));
  }

  private noteFault(error: unknown): void {
    this.logger.warn({ msg: 'could not check the tokens of open sockets again', err: error });
  }

  private armTimer(tokenId: string, watched: Watched, expiresAt: Date): void {
    const left = expiresAt.getTime() - this.clock.now().getTime();
    const next = () => (left > LONGEST_TIMER_MS ? this.armTimer(tokenId, watched, expiresAt) : this.end(tokenId));
    watched.timer = setTimeout(next, Math.min(Math.max(left, 0), LONGEST_TIMER_MS));
    watched.timer.unref();
  }

  private revoke(tokenId: string): void {
    this.revoked.add(tokenId);
    setTimeout(() => this.revoked.delete(tokenId), REMEMBER_REVOKED_MS).unref();
    this.end(tokenId);
  }

  private end(tokenId: string): void {
    const watched = this.tokens.get(tokenId);
    if (!watched) return;
    this.tokens.delete(tokenId);
    clearTimeout(watched.timer);
    for (const onEnd of watched.onEnd) onEnd();
  }
}

import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { invalidToken, type Principal, UserService } from '../auth';
import { DomainError } from '../errors';
import { TokenWatch } from '../events';
import { LOGGER, type Logger } from '../logging';
import { Poll } from '../scheduling';
import { Signals } from '../signals';
import { TiersService } from '../tiers';

/** For moves whose signal was lost, and those by the command line. */
const RECHECK_MS = 30_000;

/** A tier that was read just before its user was moved may come to be watched just after it. */
const REMEMBER_MOVED_MS = 60_000;

/** Of one connection. */
type Entrant = Pick<Principal, 'userId' | 'tokenId' | 'tokenExpiresAt'>;

/**
 * Reports to what goes on inside containers that its user may not be there any more: the token has ended, or the user
 * was moved to a tier that lets nobody in.
 */
@Injectable()
export class ExecAccess implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly entered = new Map<string, Set<(tier: string) => void>>();
  private readonly moved = new Set<string>();
  private readonly poll: Poll;
  private readonly stopListening: () => void;

  constructor(
    private readonly tokens: TokenWatch,
    private readonly users: UserService,
    private readonly tiers: TiersService,
    signals: Signals,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.stopListening = signals.on('user_moved', ({ userId }) => {
      this.moved.add(userId);
      setTimeout(() => this.moved.delete(userId), REMEMBER_MOVED_MS).unref();
      this.checkNow([userId]);
    });
    this.poll = new Poll({
      everyMs: RECHECK_MS,
      work: () => this.check([...this.entered.keys()]),
      onFault: (error) => this.noteFault(error),
    });
  }

  onApplicationBootstrap(): void {
    this.poll.start();
  }

  onModuleDestroy(): void {
    this.poll.stop();
    this.stopListening();
  }

  /**
   * For what a client has open: calls back once, with why its time is over.
   *
   * @returns the way to stop watching
   */
  watch({ userId, tokenId, tokenExpiresAt: expiresAt }: Entrant, onEnd: (why: DomainError) => void): () => void {
    let tell: ((why: DomainError) => void) | null = onEnd;
    const end = (why: DomainError): void => {
      tell?.(why);
      tell = null;
    };
    const unwatchTier = this.watchTier(userId, (tier) =>
      end(new DomainError('exec_not_allowed', { fields: { tier } })),
    );
    const unwatchToken = this.tokens.watch({ tokenId, expiresAt, onEnd: () => end(invalidToken()) });
    return () => {
      unwatchTier();
      unwatchToken();
    };
  }

  /** Does `work`, whose signal aborts, with `unauthorized` or `exec_not_allowed`, when the caller's time is over. */
  async during<T>(caller: Entrant, work: (end: AbortSignal) => Promise<T>): Promise<T> {
    const end = new AbortController();
    const unwatch = this.watch(caller, (why) => end.abort(why));
    try {
      return await work(end.signal);
    } finally {
      unwatch();
    }
  }

  /**
   * For what outlives its client: calls back when its user's tier lets nobody in, and again at intervals as long as it
   * is watched.
   *
   * @returns the way to stop watching
   */
  watchTier(userId: string, onLost: (tier: string) => void): () => void {
    const entered = this.entered.get(userId) ?? new Set();
    this.entered.set(userId, entered.add(onLost));
    if (this.moved.has(userId)) this.checkNow([userId]);
    return () => {
      entered.delete(onLost);
      if (entered.size === 0 && this.entered.get(userId) === entered) this.entered.delete(userId);
    };
  }

  private async check(userIds: readonly string[]): Promise<void> {
    for (const [userId, tier] of await this.users.tiersOf(userIds)) {
      if (this.tiers.allowsExec(tier)) continue;
      for (const onLost of [...(this.entered.get(userId) ?? [])]) onLost(tier);
    }
  }

  private checkNow(userIds: readonly string[]): void {
    this.check(userIds).catch((error: unknown) => this.noteFault(error));
  }

  private noteFault(error: unknown): void {
    this.logger.warn({ err: error }, 'whether users may still be inside their containers could not be checked');
  }
}

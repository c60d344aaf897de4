import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { invalidToken, type Principal, UserService, TokenWatch } from '../../auth';
import { DomainError } from '../../errors';
import { LOGGER, type Logger } from '../../logging';
import { Poll } from '../../scheduling';
import { Signals } from '../../signals';
import { TiersService } from '../../tiers';

/** A periodic check finds the tier changes whose signal was lost, and those made on the command line. */
const RECHECK_MS = 30_000;

/**
 * A program may start to watch just after its user was moved, with a tier that was read just before the move. So the
 * users moved within this time are checked as soon as a watch starts.
 */
const REMEMBER_MOVED_MS = 60_000;

/** The caller of one connection. */
type Entrant = Pick<Principal, 'userId' | 'tokenId' | 'tokenExpiresAt'>;

/**
 * Notifies running work inside containers when its user loses access: the token has ended, or the user was moved to a
 * tier without exec access.
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
   * Watches the access of a client's open connection. Calls `onEnd` once, with the reason, when access ends.
   *
   * @returns a function that stops watching
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

  /**
   * Runs `work` with a signal that aborts when the caller loses access, with `unauthorized` or `exec_not_allowed` as
   * reason.
   */
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
   * Watches the access of a program that outlives its client. Calls `onLost` when the user's tier has no exec access,
   * and again at every check (each 30 s) until watching stops.
   *
   * @returns a function that stops watching
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

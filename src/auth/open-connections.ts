import { Inject, Injectable, OnApplicationBootstrap, OnApplicationShutdown } from '@nestjs/common';
import { DomainError } from '../errors';
import { LOGGER, type Logger } from '../logging';
import { Clock, Poll } from '../scheduling';
import { type SignalMap, Signals, type SignalType } from '../signals';
import { TiersService } from '../tiers';
import { invalidToken } from './bearer';
import type { Principal } from './principal';
import { TokenService } from './token.service';
import { UserService } from './user.service';

/** `setTimeout` fires at once for a longer delay. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Finds changes whose signal was lost, and those made on the command line. */
const RECHECK_MS = 30_000;

/** A connection may open just after a change, with a token or a tier that was read just before it. */
const REMEMBER_MS = 60_000;

/** The caller of a connection into a container. */
type Caller = Pick<Principal, 'userId' | 'tokenId' | 'tokenExpiresAt'>;

/** Something open, which the server ends once something that it depends on is over. */
export interface OpenConnection {
  /** The token that must not be revoked or expire; nor may its user be suspended. */
  readonly token?: Pick<Principal, 'tokenId' | 'tokenExpiresAt'>;
  /** The id of the user whose tier has to allow exec. */
  readonly execBy?: string;
  /** Whether {@link end} is called again at each check, because it may fail; by default it is called once. */
  readonly isRetried?: boolean;
  /**
   * Ends it, without waiting. Must not throw.
   *
   * @param reason `unauthorized`, `exec_not_allowed`; of a {@link ConnectionGroup} also `shutting_down`, and
   *   `container_not_running` for one that its check refuses
   */
  readonly end: (reason: DomainError) => void;
}

type Concerns<T> = { readonly [S in SignalType]?: (connection: T, payload: SignalMap[S]) => boolean };

/** What a group's connections depend on besides tokens and tiers: checked regularly, and at signals. */
interface Checks<T> {
  readonly everyMs: number;
  /**
   * Called for each round of checks.
   *
   * @returns whether one connection may stay open; one whose check rejects stays open
   */
  readonly round: () => (connection: T) => Promise<boolean>;
  /** By signal: the connections that it concerns, which are checked at once. */
  readonly signals: Concerns<T>;
  readonly onFault: (error: unknown) => void;
}

/**
 * All that stays open longer than a request's own work takes: sockets, streams, programs, forwarded connections. Each
 * says what it depends on, and is ended at once when that is over.
 */
@Injectable()
export class OpenConnections implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly open = new Set<OpenConnection>();
  /** Until tokens expire. */
  private readonly timers = new Map<OpenConnection, NodeJS.Timeout>();
  private readonly revoked = new Set<string>();
  private readonly moved = new Set<string>();
  private readonly polls: Poll[];
  private readonly stopListening: readonly (() => void)[];

  constructor(
    private readonly tokens: TokenService,
    private readonly users: UserService,
    private readonly tiers: TiersService,
    private readonly clock: Clock,
    private readonly signals: Signals,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.stopListening = [
      signals.on('token_revoked', ({ tokenId }) => {
        remember(this.revoked, tokenId);
        this.endToken(tokenId);
      }),
      signals.on('user_suspended', () => void this.recheckTokens().catch(this.noteFault)),
      signals.on('user_moved', ({ userId }) => {
        remember(this.moved, userId);
        this.recheckTierOf(userId);
      }),
    ];
    const onFault = this.noteFault;
    this.polls = [() => this.recheckTokens(), () => this.recheckTiers()].map(
      (work) => new Poll({ everyMs: RECHECK_MS, work, onFault }),
    );
  }

  onApplicationBootstrap(): void {
    for (const poll of this.polls) poll.start();
  }

  onApplicationShutdown(): void {
    for (const poll of this.polls) poll.stop();
    for (const stop of this.stopListening) stop();
    for (const timer of this.timers.values()) clearTimeout(timer);
    this.timers.clear();
    this.open.clear();
  }

  /**
   * Watches what a connection depends on. May end it at once, before it returns.
   *
   * @returns a function to be called when the connection has ended
   */
  add(connection: OpenConnection): () => void {
    const { token, execBy } = connection;
    this.open.add(connection);
    if (token && this.revoked.has(token.tokenId)) this.end(connection, invalidToken());
    else if (token?.tokenExpiresAt) this.armTimer(connection, token.tokenExpiresAt);
    if (execBy !== undefined && this.moved.has(execBy)) this.recheckTierOf(execBy);
    return () => this.remove(connection);
  }

  /**
   * A signal for work inside a container, which ends with the caller's access: it aborts with `unauthorized` or
   * `exec_not_allowed`.
   *
   * @param options.gone aborts it too, with `reason`; by default with its own
   * @returns the signal, and a function to be called when the work has ended
   */
  accessOf(
    caller: Caller,
    { gone, reason }: { readonly gone?: AbortSignal | undefined; readonly reason?: () => DomainError } = {},
  ): { readonly signal: AbortSignal; readonly leave: () => void } {
    const access = new AbortController();
    const remove = this.add({ ...dependsOn(caller), end: (why) => access.abort(why) });
    const abort = (): void => access.abort(reason ? reason() : gone?.reason);
    if (gone?.aborted) abort();
    else gone?.addEventListener('abort', abort, { once: true });
    return {
      signal: access.signal,
      leave: () => {
        remove();
        gone?.removeEventListener('abort', abort);
      },
    };
  }

  /** Makes a group, in the constructor of the provider that serves its connections. */
  group<T extends OpenConnection = OpenConnection>(checks?: Checks<T>): ConnectionGroup<T> {
    const group = new ConnectionGroup<T>(this, this.signals, checks);
    if (group.poll) this.polls.push(group.poll);
    return group;
  }

  /** Checks all tokens in the database. */
  async recheckTokens(): Promise<void> {
    const ids = new Set(Array.from(this.open, ({ token }) => token?.tokenId ?? '').filter((id) => id !== ''));
    if (ids.size === 0) return;
    const valid = await this.tokens.stillValid([...ids]);
    for (const id of ids) if (!valid.has(id)) this.endToken(id);
  }

  /** Checks the tiers of these users, by default of all. */
  private async recheckTiers(of = new Set(Array.from(this.open, ({ execBy }) => execBy ?? ''))): Promise<void> {
    of.delete('');
    if (of.size === 0) return;
    for (const [userId, tier] of await this.users.tiersOf([...of])) {
      if (this.tiers.allowsExec(tier)) continue;
      const reason = new DomainError('exec_not_allowed', { fields: { tier } });
      for (const each of [...this.open]) if (each.execBy === userId) this.end(each, reason);
    }
  }

  private recheckTierOf(userId: string): void {
    this.recheckTiers(new Set([userId])).catch(this.noteFault);
  }

  private endToken(tokenId: string): void {
    for (const each of [...this.open]) if (each.token?.tokenId === tokenId) this.end(each, invalidToken());
  }

  private end(connection: OpenConnection, reason: DomainError): void {
    if (connection.isRetried !== true) this.remove(connection);
    connection.end(reason);
  }

  private remove(connection: OpenConnection): void {
    this.open.delete(connection);
    clearTimeout(this.timers.get(connection));
    this.timers.delete(connection);
  }

  private armTimer(connection: OpenConnection, expiresAt: Date): void {
    const left = expiresAt.getTime() - this.clock.now().getTime();
    const next = (): void =>
      left > LONGEST_TIMER_MS ? this.armTimer(connection, expiresAt) : this.end(connection, invalidToken());
    this.timers.set(connection, setTimeout(next, Math.min(Math.max(left, 0), LONGEST_TIMER_MS)).unref());
  }

  private readonly noteFault = (error: unknown): void => {
    this.logger.warn({ err: error }, 'whether connections may stay open could not be checked');
  };
}

/** The open connections of one kind, which end together at shutdown. */
export class ConnectionGroup<T extends OpenConnection = OpenConnection> {
  /** Whether no more may be added. */
  isClosed = false;
  readonly poll: Poll | null = null;
  private readonly open = new Set<T>();
  private readonly stopListening: (() => void)[] = [];

  /** @see OpenConnections.group */
  constructor(
    private readonly all: OpenConnections,
    private readonly signals: Signals,
    private readonly checks?: Checks<T>,
  ) {
    if (!checks) return;
    const { everyMs, onFault } = checks;
    this.poll = new Poll({ everyMs, work: () => this.check([...this.open]), onFault });
    for (const name of Object.keys(checks.signals) as SignalType[]) this.listen(name, checks.signals[name]);
  }

  /** As {@link OpenConnections.add}; the connection is also ended when the group is closed. */
  add(connection: T): () => void {
    this.open.add(connection);
    const remove = this.all.add(connection);
    return () => {
      this.open.delete(connection);
      remove();
    };
  }

  /** Ends all, with `shutting_down`. */
  close(): void {
    this.isClosed = true;
    this.poll?.stop();
    for (const stop of this.stopListening) stop();
    for (const { end } of [...this.open]) end(new DomainError('shutting_down'));
  }

  private listen<S extends SignalType>(name: S, concerns: Concerns<T>[S]): void {
    const listener = (payload: SignalMap[S]): void => {
      const concerned = [...this.open].filter((each) => concerns?.(each, payload));
      if (concerned.length > 0) this.check(concerned).catch((error: unknown) => this.checks?.onFault(error));
    };
    this.stopListening.push(this.signals.on(name, listener));
  }

  private async check(connections: readonly T[]): Promise<void> {
    const staysOpen = this.checks?.round();
    const outcomes = await Promise.allSettled(
      connections.map(async (each) => {
        if ((await staysOpen?.(each)) === false) each.end(new DomainError('container_not_running'));
      }),
    );
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed) throw failed.reason as Error;
  }
}

/** What a connection into a container depends on: its caller's token and tier. */
export function dependsOn(caller: Caller): Pick<OpenConnection, 'token' | 'execBy'> {
  return { token: caller, execBy: caller.userId };
}

function remember(ids: Set<string>, id: string): void {
  ids.add(id);
  setTimeout(() => ids.delete(id), REMEMBER_MS).unref();
}

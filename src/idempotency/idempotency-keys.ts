import { Injectable } from '@nestjs/common';
import { createHash } from 'node:crypto';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { UserService } from '../auth';
import { Database, Retention } from '../database';
import { TIMESTAMP } from '../database/column-types';
import { DomainError } from '../errors';
import { Clock } from '../scheduling';
import { Secrets } from '../secrets';

/** A request that was answered under a client's key. Written in the transaction that did the request's work. */
@Entity('idempotency_keys')
export class IdempotencyKeyEntity {
  @PrimaryColumn({ name: 'user_id', type: 'varchar', length: 36 })
  userId: string;

  @PrimaryColumn({ type: 'varchar', length: 255 })
  key: string;

  /**
   * A keyed digest of the request's hash, 64 hex digits. Keyed because the request may hold the user's secrets, which
   * could be guessed from a plain hash.
   */
  @Column({ name: 'request_hash', type: 'varchar', length: 64 })
  requestHash: string;

  /** The answer as JSON; an answer with a secret is `{ "sealed": "v1:…" }`, encrypted with `SECRETS_KEY`. */
  @Column({ type: 'simple-json' })
  answer: object;

  /** The id of the created object, a container or any other; empty if it has none. */
  @Column({ name: 'container_id', type: 'varchar', length: 36 })
  madeId: string;

  @Index('idempotency_keys_created_at')
  @Column({ name: 'created_at', type: TIMESTAMP })
  createdAt: Date;
}

/** How long a key is kept, in milliseconds. */
const KEPT_MS = 24 * 3_600_000;

/** Deletes keys after 24 hours. */
@Injectable()
export class IdempotencyRetention extends Retention {
  constructor(database: Database, clock: Clock) {
    super(database, clock, {
      name: 'idempotency keys',
      entity: IdempotencyKeyEntity,
      since: 'created_at',
      keptMs: KEPT_MS,
    });
  }
}

/** A request that is executed once, however often it is sent with its key. */
export interface OnceOnly {
  readonly key: string;
  /** The plain hash, which must not be stored: see {@link IdempotencyKeyEntity.requestHash}. */
  readonly requestHash: string;
  /** Whether the answer holds a secret, and so is stored encrypted. */
  readonly isSecret: boolean;
}

/** The result of a request. */
interface Made<T> {
  /** The answer to the first request, and to every later one. */
  readonly answer: T;
  /** The id of the created object, a UUID; or empty. */
  readonly id: string;
}

/** The answer to a request, and whether it is that of an earlier one under the same key. */
interface Once<T> {
  readonly answer: T;
  readonly isReplayed: boolean;
}

/** The keys of the last 24 hours, each with its request and answer. */
@Injectable()
export class IdempotencyKeys {
  constructor(
    private readonly database: Database,
    private readonly users: UserService,
    private readonly clock: Clock,
    private readonly retention: IdempotencyRetention,
    private readonly secrets: Secrets,
  ) {}

  /**
   * Executes a request once under a client's key, in one transaction that locks the user's row: of several concurrent
   * requests the first finds no answer, and the others find its answer.
   *
   * @param request null: it has no key; it is executed without a transaction, and nothing is kept
   * @param make runs in this transaction; it must call `keep` once, with its result
   * @throws DomainError `idempotency_key_reused` if the key belongs to another request; any error of `make`, after
   *   which the key is free
   */
  async once<T extends object>(
    userId: string,
    request: OnceOnly | null,
    make: (keep: (made: Made<T>) => Promise<void>) => Promise<void>,
  ): Promise<Once<T>> {
    if (request === null) return madeBy(make, () => Promise.resolve());
    return this.database.runInTxLocking(userId, async () => {
      await this.users.lock(userId);
      // Before any other check: the first request may have used the last place in the tier's limit, and has taken the
      // name.
      const earlier = await this.answerOf(userId, request);
      if (earlier) return { answer: earlier as T, isReplayed: true };
      return madeBy(make, (made) => this.keep(userId, request, made));
    });
  }

  /**
   * The answer of an earlier request under the key, for a request that has much to do before {@link once}.
   *
   * @returns null if there is none, or no key
   * @throws DomainError `idempotency_key_reused`
   */
  async earlier<T extends object>(userId: string, request: OnceOnly | null): Promise<T | null> {
    return request === null ? null : ((await this.answerOf(userId, request)) as T | null);
  }

  private async answerOf(userId: string, { key, requestHash }: OnceOnly): Promise<object | null> {
    const { manager } = this.database;
    const used = await manager.findOneBy(IdempotencyKeyEntity, { userId, key });
    if (!used) return null;
    if (used.createdAt <= this.retention.newestDue()) {
      await manager.delete(IdempotencyKeyEntity, { userId, key });
      return null;
    }
    // Earlier versions stored the plain hash.
    const known: readonly string[] = [...this.secrets.digests(requestHash), requestHash];
    if (!known.includes(used.requestHash)) throw new DomainError('idempotency_key_reused');
    const { sealed } = used.answer as { sealed?: unknown };
    return typeof sealed === 'string'
      ? (JSON.parse(this.secrets.open(sealed, placeOf(userId, key))) as object)
      : used.answer;
  }

  private async keep(
    userId: string,
    { key, requestHash, isSecret }: OnceOnly,
    { answer, id }: Made<object>,
  ): Promise<void> {
    const sealed = isSecret ? this.secrets.seal(JSON.stringify(answer), placeOf(userId, key)) : null;
    await this.database.manager.insert(IdempotencyKeyEntity, {
      userId,
      key,
      requestHash: this.secrets.digests(requestHash)[0],
      answer: sealed === null ? answer : { sealed },
      madeId: id,
      createdAt: this.clock.now(),
    });
  }
}

/** The context that a sealed answer is bound to. */
function placeOf(userId: string, key: string): string {
  return `idempotency_keys.answer:${userId}:${key}`;
}

/**
 * The SHA-256 of a JSON value, as 64 hex digits. It does not depend on the order of fields. Undefined fields count as
 * absent.
 */
export function requestHash(request: object): string {
  return createHash('sha256').update(canonicalJson(request)).digest('hex');
}

function canonicalJson(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`);
  return `{${members.join(',')}}`;
}

async function madeBy<T extends object>(
  make: (keep: (made: Made<T>) => Promise<void>) => Promise<void>,
  keep: (made: Made<T>) => Promise<void>,
): Promise<Once<T>> {
  let answer: T | undefined;
  await make(async (made) => {
    ({ answer } = made);
    await keep(made);
  });
  if (!answer) throw new Error('nothing was kept under the key');
  return { answer, isReplayed: false };
}

/** @param key undefined if the request has none; then null is returned @param request what must be the same again */
export function onceOnly(key: string | undefined, request: object): OnceOnly | null {
  return key === undefined ? null : { key, requestHash: requestHash(request), isSecret: false };
}

import { Injectable } from '@nestjs/common';
import { Clock } from '../../clock';
import { Database } from '../../database';
import { DomainError } from '../../errors';
import type { ContainerCreatedView } from '../dto/container-answers';
import { IdempotencyKeyEntity } from './idempotency-key.entity';

/** For how long a key stands for its request, in milliseconds. */
const KEPT_MS = 24 * 3_600_000;

/** How many rows one deletion takes at most: it holds SQLite's only connection for some milliseconds. */
const PRUNE_BATCH = 1_000;

/** A creation that is to happen once, however often it is asked for under its key. */
export interface OnceOnly {
  readonly key: string;
  readonly requestHash: string;
  /** What the first request is answered, and every other one after it. */
  readonly answer: ContainerCreatedView;
}

/** The keys that were used in the last 24 hours, each with its request and answer. */
@Injectable()
export class IdempotencyKeys {
  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
  ) {}

  /**
   * To be asked under the lock of the user's row, as {@link keep} is: so of several requests at once one finds nothing,
   * and the others its answer.
   *
   * @returns what was answered under this key; null if it is free
   * @throws DomainError `idempotency_key_reused` if it stands for another request
   */
  async answerOf(userId: string, { key, requestHash }: OnceOnly): Promise<ContainerCreatedView | null> {
    const { manager } = this.database;
    const used = await manager.findOneBy(IdempotencyKeyEntity, { userId, key });
    if (!used) return null;
    if (used.createdAt <= this.oldest()) {
      await manager.delete(IdempotencyKeyEntity, { userId, key });
      return null;
    }
    if (used.requestHash !== requestHash) throw new DomainError('idempotency_key_reused');
    return used.answer;
  }

  /** Ties the key to its request and answer, as part of the current transaction. */
  async keep(container: { id: string; userId: string }, { key, requestHash, answer }: OnceOnly): Promise<void> {
    const { id: containerId, userId } = container;
    const createdAt = this.clock.now();
    await this.database.manager.insert(IdempotencyKeyEntity, {
      ...{ userId, key, requestHash, answer, containerId, createdAt },
    });
  }

  /** Forgets the keys whose time is over, in batches. @returns how many */
  async prune(): Promise<number> {
    // Several processes may prune at once: neither waits for rows that the other is deleting already.
    const lock = this.database.isSqlite ? '' : 'FOR UPDATE SKIP LOCKED';
    const batch = `SELECT user_id, "key" FROM idempotency_keys WHERE created_at <= :oldest ORDER BY created_at LIMIT :batch ${lock}`;
    const oldest = this.database.timestamp(this.oldest());
    for (let pruned = 0; ;) {
      const { affected } = await this.database.manager
        .createQueryBuilder()
        .delete()
        .from(IdempotencyKeyEntity)
        .where(`(user_id, "key") IN (${batch})`, { oldest, batch: PRUNE_BATCH })
        .execute();
      pruned += affected ?? 0;
      if ((affected ?? 0) < PRUNE_BATCH) return pruned;
    }
  }

  private oldest(): Date {
    return new Date(this.clock.now().getTime() - KEPT_MS);
  }
}

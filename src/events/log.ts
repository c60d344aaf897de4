import { Inject, Injectable } from '@nestjs/common';
import { Column, Entity, In, Index, PrimaryColumn } from 'typeorm';
import { lockUser, UserEntity } from '../auth';
import { type Config, CONFIG } from '../config';
import { Database, Retention, type Sql, sql } from '../database';
import { TIMESTAMP } from '../database/column-types';
import { Clock } from '../scheduling';
import { Signals } from '../signals';
import { BerthEvent, EventDraft } from './map';

/** One event of one user, written in the same transaction as the change that it reports. */
@Entity('events')
export class EventEntity {
  @PrimaryColumn({ name: 'user_id', type: 'varchar', length: 36 })
  userId: string;

  /** 1, 2, 3, … for each user, without gaps, in commit order. */
  @PrimaryColumn({ type: 'integer' })
  seq: number;

  @Column({ type: 'varchar', length: 32 })
  type: string;

  @Column({ type: 'simple-json' })
  data: Record<string, unknown>;

  @Index('events_created_at')
  @Column({ name: 'created_at', type: TIMESTAMP })
  createdAt: Date;
}

/** Called with one user's events after their commit, in `seq` order. */
type CommitListener = (userId: string, events: readonly BerthEvent[]) => void;

/** Appends and reads the users' events in the database. */
@Injectable()
export class EventLog {
  private readonly listeners: CommitListener[] = [];

  constructor(
    private readonly database: Database,
    private readonly signals: Signals,
  ) {}

  /**
   * Writes events as part of the current transaction. The user's row stays locked until its end, so `seq` follows the
   * commit order without gaps, and other decisions under that lock (the tier's count) are safe from then on.
   *
   * @throws Error outside of {@link Database.runInTx}, and for an unknown user
   */
  async append({ userId, drafts }: { userId: string; drafts: readonly EventDraft[] }): Promise<BerthEvent[]> {
    const events: BerthEvent[] = [];
    this.database.afterCommit(() => {
      this.announce(userId, events);
    });
    if (drafts.length === 0) return events;
    const written = this.database.isSqlite ? this.writeSqlite(userId, drafts) : this.writePostgres(userId, drafts);
    events.push(...numberedEvents(drafts, await written));
    return events;
  }

  /**
   * Like {@link append}, together with the change that the events report, in a single PostgreSQL statement. Call it
   * in {@link Database.runStatementLocking}. The user's row is locked before the change is made.
   *
   * @param ctes end with `changed`, which inserts or updates at most one row; its condition, or that of another one,
   *   must include {@link UNDISTURBED}
   * @returns the columns that `changed` returns; null if no row was changed: then no event is written
   */
  async appendWith(
    { userId, drafts }: { userId: string; drafts: readonly EventDraft[] },
    ctes: Sql,
  ): Promise<Readonly<Record<string, unknown>> | null> {
    const events: BerthEvent[] = [];
    this.database.afterCommit(() => this.announce(userId, events));
    const { rows } = await this.database.run<Written & Record<string, unknown>>(sql`
      WITH owner AS (SELECT id, event_seq FROM users WHERE id = ${userId} FOR UPDATE),
      ${ctes}, ${numberingCtes(userId, drafts, sql`FROM changed`)}
      SELECT last, at, changed.* FROM numbered, changed`);
    const [written] = rows;
    if (!written) return null;
    const { last, at, ...changed } = written;
    events.push(...numberedEvents(drafts, { last, at }));
    return changed;
  }

  /** Locks the user's row, as {@link append} does, for decisions that precede the event. */
  lock(userId: string): Promise<void> {
    return lockUser(this.database, userId);
  }

  /** Reads at most `limit` of a user's events with a `seq` greater than `after`, in `seq` order. */
  async read({ userId, after, limit }: { userId: string; after: number; limit: number }): Promise<BerthEvent[]> {
    const rows = await this.database.manager
      .createQueryBuilder(EventEntity, 'event')
      .where('event.userId = :userId AND event.seq > :after', { userId, after })
      .orderBy('event.seq')
      .limit(limit)
      .getMany();
    return rows.map(toEvent);
  }

  /** Reads those of a user's events that are still kept, by their `seq`. */
  async find({ userId, seqs }: { userId: string; seqs: readonly number[] }): Promise<BerthEvent[]> {
    if (seqs.length === 0) return [];
    const rows = await this.database.manager.findBy(EventEntity, { userId, seq: In([...seqs]) });
    return rows.map(toEvent);
  }

  /** `seq` of the user's newest event; 0 if there is none, or no such user. */
  async lastSeq(userId: string): Promise<number> {
    const row = await this.database.manager
      .createQueryBuilder(UserEntity, 'user')
      .select('user.eventSeq', 'seq')
      .where('user.id = :userId', { userId })
      .getRawOne<{ seq: number }>();
    return row?.seq ?? 0;
  }

  /** Those of the given users (id → known `seq`) who have newer events. PostgreSQL only. */
  async seqsAhead(known: ReadonlyMap<string, number>): Promise<{ userId: string; seq: number }[]> {
    const { rows } = await this.database.run<{ userId: string; seq: number }>(sql`
      SELECT users.id AS "userId", users.event_seq AS seq
      FROM unnest(${[...known.keys()]}::varchar[], ${[...known.values()]}::int[]) AS known(id, seq)
      JOIN users USING (id) WHERE users.event_seq > known.seq`);
    return [...rows];
  }

  /** Calls `listener` after every commit of events in this process. It must not throw. */
  onCommitted(listener: CommitListener): void {
    this.listeners.push(listener);
  }

  private async writeSqlite(userId: string, drafts: readonly EventDraft[]): Promise<Written> {
    const { rows } = await this.database.run<{ last: number }>(sql`
      UPDATE users SET event_seq = event_seq + ${drafts.length} WHERE id = ${userId} RETURNING event_seq AS last`);
    const [numbered] = rows;
    if (!numbered) throw unknownUser(userId);
    const { last } = numbered;
    const at = new Date();
    const first = last - drafts.length + 1;
    for (const [index, { type, data }] of drafts.entries()) {
      const event: EventEntity = { userId, seq: first + index, type, data: { ...data }, createdAt: at };
      await this.database.run(sql.insert(EventEntity, event));
    }
    return { last, at };
  }

  /** One round trip. The time is read after the user's row is locked, so that times follow the order of `seq`. */
  private async writePostgres(userId: string, drafts: readonly EventDraft[]): Promise<Written> {
    const { rows } = await this.database.run<Written>(sql`
      WITH ${numberingCtes(userId, drafts)} SELECT last, at FROM numbered`);
    const [written] = rows;
    if (!written) throw unknownUser(userId);
    return written;
  }

  private announce(userId: string, events: readonly BerthEvent[]): void {
    const last = events.at(-1);
    if (!last) return;
    for (const listener of this.listeners) listener(userId, events);
    this.signals.publish('user_events', { userId, seq: last.seq });
  }
}

/** The last `seq` and the time of a written batch of events. */
interface Written {
  readonly last: number;
  readonly at: Date;
}

/**
 * A condition evaluated after the user's row is locked: no event of the user was written since the statement began. A
 * statement reads the database as of its start, before it waited for the lock; if this condition holds, the data that
 * it read is still current.
 */
export const UNDISTURBED = sql`
  EXISTS (SELECT FROM owner INNER JOIN users AS seen USING (id) WHERE seen.event_seq = owner.event_seq)`;

/**
 * CTEs that number and write events. Times are truncated to milliseconds, the precision of every reader.
 *
 * @param from if it has no row, nothing is written
 */
function numberingCtes(userId: string, drafts: readonly EventDraft[], from = sql``): Sql {
  const types = drafts.map(({ type }) => type);
  const data = drafts.map((draft) => JSON.stringify(draft.data));
  return sql`numbered AS (
      UPDATE users SET event_seq = event_seq + ${drafts.length}::int ${from} WHERE users.id = ${userId}
      RETURNING users.id AS owner_id, event_seq AS last, date_trunc('milliseconds', clock_timestamp()) AS at
    ), written AS (
      INSERT INTO events (user_id, seq, type, data, created_at)
      SELECT owner_id, last - ${drafts.length}::int + position, type, data, at
      FROM numbered, unnest(${types}::varchar[], ${data}::text[]) WITH ORDINALITY AS draft(type, data, position)
    )`;
}

function numberedEvents(drafts: readonly EventDraft[], { last, at }: Written): BerthEvent[] {
  const first = last - drafts.length + 1;
  return drafts.map(({ type, data }, index) => toEvent({ type, seq: first + index, createdAt: at, data: { ...data } }));
}

type Stored = Pick<EventEntity, 'seq' | 'type' | 'data' | 'createdAt'>;

function unknownUser(userId: string): Error {
  return new Error(`events for user ${userId}, who does not exist`);
}

/** The table holds only events that were appended as typed drafts, so `type` and `data` belong together. */
function toEvent({ type, seq, createdAt, data }: Stored): BerthEvent {
  return { type, seq, timestamp: createdAt.toISOString(), data } as unknown as BerthEvent;
}

/** Deletes events older than `EVENT_RETENTION`. */
@Injectable()
export class EventRetention extends Retention {
  constructor(database: Database, clock: Clock, @Inject(CONFIG) config: Pick<Config, 'EVENT_RETENTION'>) {
    super(database, clock, {
      name: 'events',
      entity: EventEntity,
      since: 'created_at',
      keptMs: config.EVENT_RETENTION,
    });
  }
}

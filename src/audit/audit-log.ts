import { Inject, Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { type Config, CONFIG } from '../config';
import { Database, Retention, sql } from '../database';
import { Clock } from '../scheduling';
import { AuditEntryEntity } from './audit-entry.entity';

/** The object and the action, such as `container.start`. */
export type AuditAction = `${string}.${string}`;

/** An action that is about to run. */
export interface AuditIntent {
  readonly action: AuditAction;
  /** null: the caller is not authenticated yet. */
  readonly userId: string | null;
  readonly tokenId: string | null;
  readonly targetId: string | null;
  readonly address: string;
  readonly requestId: string;
}

/** How an action ended, and the details that were only known then. */
export type AuditOutcome = Pick<AuditEntryEntity, 'outcome'> &
  Partial<Pick<AuditEntryEntity, 'userId' | 'subjectUserId' | 'containerId' | 'targetId' | 'detail'>>;

/** An action of Berth itself. */
export interface SystemAct {
  readonly action: AuditAction;
  /** The owner of the container or of the other object. */
  readonly subjectUserId: string;
  /** Null if the object is no container. */
  readonly containerId: string | null;
  /** The id of an object that is no container, or belongs to it. */
  readonly targetId?: string;
  /** Of the client who caused it. */
  readonly address?: string;
  /** `ok` if absent, else the code of the error. */
  readonly outcome?: string;
}

/** Writes audit entries, before and after each action. */
@Injectable()
export class AuditLog {
  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
  ) {}

  /**
   * Writes the intent; the action must not run before this has succeeded.
   *
   * @returns the entry's id, for {@link finish}
   */
  async begin(intent: AuditIntent): Promise<string> {
    const id = randomUUID();
    await this.insert({
      id,
      at: this.clock.now(),
      outcome: 'pending',
      finishedAt: null,
      subjectUserId: intent.userId,
      containerId: null,
      detail: null,
      ...intent,
    });
    return id;
  }

  async finish(id: string, outcome: AuditOutcome): Promise<void> {
    const set = sql.set(AuditEntryEntity, { ...outcome, finishedAt: this.clock.now() });
    await this.database.run(sql`UPDATE audit_entries SET ${set} WHERE id = ${id}`);
  }

  /** Writes an action of Berth itself. In a transaction, the entry is part of it, so both are committed or neither. */
  async recordSystem({
    action,
    subjectUserId,
    containerId,
    targetId,
    address,
    outcome = 'ok',
  }: SystemAct): Promise<void> {
    const now = this.clock.now();
    await this.insert({
      id: randomUUID(),
      at: now,
      finishedAt: now,
      action,
      outcome,
      subjectUserId,
      containerId,
      userId: null,
      tokenId: null,
      targetId: targetId ?? null,
      address: address ?? null,
      requestId: null,
      detail: null,
    });
  }

  private async insert(entry: AuditEntryEntity): Promise<void> {
    await this.database.run(sql.insert(AuditEntryEntity, entry));
  }
}

/** Deletes entries after `AUDIT_RETENTION`. */
@Injectable()
export class AuditRetention extends Retention {
  constructor(database: Database, clock: Clock, @Inject(CONFIG) config: Pick<Config, 'AUDIT_RETENTION'>) {
    super(database, clock, {
      name: 'audit entries',
      entity: AuditEntryEntity,
      since: 'at',
      keptMs: config.AUDIT_RETENTION,
    });
  }
}

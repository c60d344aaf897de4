import { Inject, Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { type Config, CONFIG } from '../config';
import { Database, Retention, RowWriter } from '../database';
import { Clock } from '../scheduling';
import { AuditEntryEntity } from './audit-entry.entity';

/** What is done to what, such as `container.start`. */
export type AuditAction = `${string}.${string}`;

/** What is about to be done. */
export interface AuditIntent {
  readonly action: AuditAction;
  /** null: somebody who has no name yet. */
  readonly userId: string | null;
  readonly tokenId: string | null;
  readonly targetId: string | null;
  readonly address: string;
  readonly requestId: string;
}

/** How it ended, and what only then was known of it. */
export type AuditOutcome = Pick<AuditEntryEntity, 'outcome'> &
  Partial<Pick<AuditEntryEntity, 'userId' | 'subjectUserId' | 'containerId' | 'targetId' | 'detail'>>;

/** What Berth did to a container by itself. */
export interface SystemAct {
  readonly action: AuditAction;
  /** Whose container it is. */
  readonly subjectUserId: string;
  readonly containerId: string;
  /** `ok` if absent, else the code of the error. */
  readonly outcome?: string;
}

/** Writes down what is done, before and after. */
@Injectable()
export class AuditLog {
  private readonly entries: RowWriter<AuditEntryEntity>;

  constructor(
    database: Database,
    private readonly clock: Clock,
  ) {
    this.entries = new RowWriter(database, AuditEntryEntity);
  }

  /** Writes the intent; nothing may be done before this has succeeded. @returns the entry's id, for {@link finish} */
  async begin(intent: AuditIntent): Promise<string> {
    const id = randomUUID();
    await this.entries.insert({
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
    await this.entries.update({ ...outcome, finishedAt: this.clock.now() }, (parameter) => `id = ${parameter(id)}`);
  }

  /**
   * Writes what Berth did by itself; inside a transaction as a part of it, so that the one is not without the other.
   */
  async recordSystem({ action, subjectUserId, containerId, outcome = 'ok' }: SystemAct): Promise<void> {
    const now = this.clock.now();
    await this.entries.insert({
      id: randomUUID(),
      at: now,
      finishedAt: now,
      action,
      outcome,
      subjectUserId,
      containerId,
      userId: null,
      tokenId: null,
      targetId: null,
      address: null,
      requestId: null,
      detail: null,
    });
  }
}

/** Keeps entries for `AUDIT_RETENTION`. */
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

import { BeforeApplicationShutdown, Injectable, Logger, OnApplicationBootstrap } from '@nestjs/common';
import { ProcessPresence } from '../database';
import { EventLog } from '../events';
import { FairLimiter, Poll, Throttle, within } from '../scheduling';
import { Signals } from '../signals';
import { DeliveryAttempts } from './delivery-attempts';
import { DeliveryRepository } from './delivery.repository';
import { HeldWebhook, type HolderServices, POLL_MS } from './held-webhook';
import { Retries } from './retries';
import type { WebhookRow } from './webhook.entity';
import { WebhookRepository } from './webhook.repository';

/** Webhooks for which events are taken from the log at the same time. */
const TAKEN_AT_ONCE = 8;

/** How long news are collected before they are looked for, so that a burst of events takes few queries. */
const GATHER_MS = 20;

/** How long attempts may go on at the end of the process; the next holder repeats those that are cut off. */
const END_WITHIN_MS = 1_000;

const FAULT_EVERY_MS = 60_000;

/**
 * Delivers webhooks. Each is held by one process, until that process ends or is taken for dead. Events are found by a
 * poll, and at once if this process committed them or a signal came.
 */
@Injectable()
export class WebhookDeliverer implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger(WebhookDeliverer.name);
  private readonly held = new Map<string, HeldWebhook>();
  private readonly poll: Poll;
  private readonly services: HolderServices;
  private readonly limiter = new FairLimiter({ atOnce: TAKEN_AT_ONCE, perKey: 1 });
  private readonly faults = new Throttle(FAULT_EVERY_MS);
  /** Users with events that were committed since the last look. */
  private news = new Set<string>();
  private readonly stopListening: (() => void)[] = [];
  /** The presence under which this process holds its webhooks. */
  private session: number;
  private round: Promise<void> | null = null;
  private gathering: NodeJS.Timeout | undefined;
  private hasChanges = false;
  private isEnding = false;

  constructor(
    private readonly webhooks: WebhookRepository,
    private readonly deliveries: DeliveryRepository,
    private readonly presence: ProcessPresence,
    private readonly log: EventLog,
    private readonly signals: Signals,
    attempts: DeliveryAttempts,
    retries: Retries,
  ) {
    this.session = presence.session;
    const isHolder = (): boolean => presence.isProven(this.session);
    const onFault = (error: unknown): void => this.fault(error);
    this.services = { deliveries, webhooks, attempts, retries, isHolder, onFault };
    this.poll = new Poll({ everyMs: POLL_MS, work: () => this.look(), onFault });
  }

  onApplicationBootstrap(): void {
    this.log.onCommitted((userId) => this.hear(userId));
    this.stopListening.push(
      this.signals.on('user_events', ({ userId }) => this.hear(userId)),
      this.signals.on('webhook_changed', () => this.lookSoon({ hasChanges: true })),
    );
    this.poll.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.isEnding = true;
    this.poll.stop();
    clearTimeout(this.gathering);
    for (const stop of this.stopListening) stop();
    // A database that does not answer must not keep the process from ending.
    await within(this.end(), { ms: 2 * END_WITHIN_MS }).catch(() => undefined);
  }

  /**
   * Looks once for webhooks to hold, changes of them, and events. Concurrent calls share one round; a call during a
   * round may get the result of an earlier look.
   *
   * @throws if the database does not answer
   */
  look(): Promise<void> {
    this.round ??= this.lookOnce().finally(() => (this.round = null));
    return this.round;
  }

  private async end(): Promise<void> {
    await this.round?.catch(() => undefined);
    const all = [...this.held.values()];
    if (all.length === 0) return;
    const ended = Promise.all(all.map((held) => held.close({ isCut: false })));
    await within(ended, { ms: END_WITHIN_MS }).catch(() => undefined);
    await Promise.all(all.map((held) => held.close({ isCut: true })));
    await this.webhooks.release();
  }

  private hear(userId: string): void {
    if (this.news.has(userId)) return;
    for (const { row } of this.held.values()) {
      if (!row.forAllUsers && row.userId !== userId) continue;
      this.news.add(userId);
      this.lookSoon({ hasChanges: false });
      return;
    }
  }

  private lookSoon({ hasChanges }: { readonly hasChanges: boolean }): void {
    this.hasChanges ||= hasChanges;
    if (this.gathering !== undefined || this.isEnding) return;
    this.gathering = setTimeout(() => {
      this.gathering = undefined;
      this.lookForNews().catch((error: unknown) => this.fault(error));
    }, GATHER_MS);
    this.gathering.unref();
  }

  private async lookForNews(): Promise<void> {
    const { news, hasChanges } = this;
    this.news = new Set();
    this.hasChanges = false;
    if (!hasChanges) {
      await this.take([...news]);
      return;
    }
    // News that come during a round may not be in it.
    await this.round?.catch(() => undefined);
    await this.look();
  }

  private async lookOnce(): Promise<void> {
    if (this.isEnding) return;
    await this.confirmPresence();
    await this.webhooks.deleteOfDeletedUsers();
    if (await this.webhooks.claim()) this.lookSoon({ hasChanges: true });
    await this.follow(await this.webhooks.listHeld());
    for (const held of this.held.values()) held.pump();
    await this.take();
  }

  /** @param userIds those with news; all if absent */
  private async take(userIds?: readonly string[]): Promise<void> {
    if (this.held.size === 0 || this.isEnding) return;
    const behind = await this.deliveries.behind(userIds);
    await Promise.all(
      behind.map((each) => this.limiter.run(each.webhookId, async () => this.held.get(each.webhookId)?.take(each))),
    );
  }

  /** After a loss of presence, other processes may have taken webhooks over: all are read again. */
  private async confirmPresence(): Promise<void> {
    if (this.presence.isProven(this.session)) return;
    const session = await this.presence.prove();
    if (session === this.session) return;
    const lost = [...this.held.values()];
    this.held.clear();
    await Promise.all(lost.map((held) => held.close({ isCut: true })));
    this.session = session;
  }

  /**
   * Opens, reopens and closes webhooks as their rows say. Running attempts are not awaited, as a slow receiver must not
   * delay other webhooks; a later round finds that they have ended.
   */
  private async follow(rows: readonly WebhookRow[]): Promise<void> {
    const wanted = new Map(rows.map((row) => [row.id, row]));
    for (const [id, held] of this.held) {
      if (!held.isClosed && wanted.get(id)?.revision === held.row.revision) continue;
      void held.close({ isCut: false });
      if (held.isIdle) this.held.delete(id);
    }
    for (const [id, row] of wanted) {
      if (this.held.has(id)) continue;
      this.held.set(id, await HeldWebhook.open(row, this.services));
    }
  }

  private fault(error: unknown): void {
    if (!this.isEnding && this.faults.passes()) {
      this.logger.error({ msg: 'delivering webhooks failed', err: error });
    }
  }
}

import type { DeliveryAttempts } from './delivery-attempts';
import type { Behind, DeliveryOutcome, DeliveryRepository } from './delivery.repository';
import type { Retries } from './retries';
import type { DeliveryRow, WebhookRow } from './webhook.entity';
import type { WebhookRepository } from './webhook.repository';

/**
 * Maximum pending deliveries of a webhook. The events that follow stay in the log until there is room, so that a
 * receiver that fails for days takes neither memory nor rows without end.
 */
const MOST_WAITING = 1_000;

/** Timers are set only for retries that are due before the deliverer's next poll. */
export const POLL_MS = 1_000;

/** The HTTP status by which a receiver says that it is gone; Standard Webhooks disables it at once. */
const GONE = 410;

export interface HolderServices {
  readonly deliveries: DeliveryRepository;
  readonly webhooks: WebhookRepository;
  readonly attempts: DeliveryAttempts;
  readonly retries: Retries;
  /** Whether this process is sure to be the holder. */
  readonly isHolder: () => boolean;
  readonly onFault: (error: unknown) => void;
}

/** The pending deliveries about one subject of one user, the next one first. One at a time is attempted. */
interface Lane {
  readonly waiting: DeliveryRow[];
  isBusy: boolean;
  timer: NodeJS.Timeout | undefined;
}

/**
 * A webhook that this process delivers. Each subject's deliveries are made in order: a failed one is repeated before
 * the next. Different subjects do not wait for each other.
 */
export class HeldWebhook {
  private readonly lanes = new Map<string, Lane>();
  private readonly running = new Set<Promise<void>>();
  private readonly cut = new AbortController();
  /** Until when the receiver wants no message; null if it has not said. */
  private notBefore: Date | null = null;
  private waiting = 0;
  private closed = false;

  private constructor(
    readonly row: WebhookRow,
    private readonly services: HolderServices,
  ) {}

  /** Continues with the deliveries that are pending. @throws if the database does not answer */
  static async open(row: WebhookRow, services: HolderServices): Promise<HeldWebhook> {
    const held = new HeldWebhook(row, services);
    for (const delivery of await services.deliveries.pendingOf(row.id)) held.enqueue(delivery);
    held.pump();
    return held;
  }

  /** Takes a user's next events from the log, as far as there is room. @throws if the database does not answer */
  async take(behind: Behind): Promise<void> {
    const taking = this.takePages(behind);
    // The webhook is opened again only after the insertion, so that it finds these deliveries.
    this.track(taking.catch(() => undefined));
    await taking;
  }

  /** Starts the attempts that are due. */
  pump(): void {
    for (const [subject, lane] of this.lanes) {
      if (lane.waiting.length === 0 && !lane.isBusy) this.lanes.delete(subject);
      else this.start(lane);
    }
  }

  /**
   * Starts no further attempts.
   *
   * @param options.isCut cuts off running attempts too; they are repeated by the next holder
   */
  async close({ isCut }: { readonly isCut: boolean }): Promise<void> {
    this.closed = true;
    for (const { timer } of this.lanes.values()) clearTimeout(timer);
    if (isCut) this.cut.abort();
    await Promise.all(this.running);
  }

  private async takePages(behind: Behind): Promise<void> {
    for (let at = behind; at.seq < at.present && this.waiting < MOST_WAITING && !this.closed;) {
      const page = await this.services.deliveries.take(this.row, at);
      if (page === null) return;
      for (const delivery of page.taken) this.enqueue(delivery);
      this.pump();
      at = { ...at, seq: page.seq };
    }
  }

  private enqueue(delivery: DeliveryRow): void {
    const key = `${delivery.userId} ${delivery.subject}`;
    const lane = this.lanes.get(key) ?? { waiting: [], isBusy: false, timer: undefined };
    this.lanes.set(key, lane);
    lane.waiting.push(delivery);
    this.waiting += 1;
  }

  private start(lane: Lane): void {
    const [next] = lane.waiting;
    if (!next || lane.isBusy || this.closed) return;
    clearTimeout(lane.timer);
    const { retries } = this.services;
    const inMs = Math.max(retries.msUntil(next.nextTryAt), retries.msUntil(this.notBefore));
    if (inMs > 0) {
      if (inMs <= POLL_MS) lane.timer = setTimeout(() => this.start(lane), inMs).unref();
      return;
    }
    lane.isBusy = true;
    const run = this.services.attempts.inTurn(this.row, () => this.deliver(lane, next));
    const ended = run.then(
      (goesOn) => {
        lane.isBusy = false;
        if (goesOn) this.start(lane);
      },
      (error: unknown) => {
        // The next poll tries again.
        lane.isBusy = false;
        this.services.onFault(error);
      },
    );
    this.track(ended);
  }

  /** Makes {@link close} wait for work that does not reject. */
  private track(work: Promise<void>): void {
    this.running.add(work);
    void work.finally(() => this.running.delete(work));
  }

  /** @returns whether the lane may go on at once */
  private async deliver(lane: Lane, delivery: DeliveryRow): Promise<boolean> {
    const { attempts, deliveries, retries, webhooks } = this.services;
    if (this.closed || !this.services.isHolder()) return false;
    // The receiver may have asked for a pause while this attempt waited for its turn.
    if (retries.msUntil(this.notBefore) > 0) return true;
    const payload = (await attempts.payloadsOf(this.row, [delivery])).get(delivery.id);
    if (!payload) return this.settled(lane, delivery, { status: 'lost', error: 'the event was no longer stored' });
    const made = await attempts.attempt(this.row, { delivery, payload, signal: this.cut.signal });
    if (made === null) return false;
    const { seen, retryAfterMs } = made;
    if (seen.error === null) return this.settled(lane, delivery, { ...seen, status: 'delivered' });
    const notBefore = retries.notBefore(retryAfterMs);
    this.notBefore = notBefore ?? this.notBefore;
    const retry = retries.after({ attempts: seen.attempts, firstFailedAt: delivery.firstFailedAt, notBefore });
    if (!(await deliveries.settle(delivery, { ...seen, ...retry }))) return this.overtaken();
    lane.waiting[0] = { ...delivery, ...seen, ...retry };
    if (seen.responseStatus === GONE) await webhooks.disable(this.row, 'gone');
    else if (retry.nextTryAt === null) await webhooks.disable(this.row, 'failing');
    else return true;
    return this.overtaken();
  }

  private async settled(lane: Lane, delivery: DeliveryRow, outcome: DeliveryOutcome): Promise<boolean> {
    if (!(await this.services.deliveries.settle(delivery, outcome))) return this.overtaken();
    lane.waiting.shift();
    this.waiting -= 1;
    return true;
  }

  /** Delivers no more: another process does by now, a user settled the delivery, or the webhook is disabled. */
  private overtaken(): false {
    this.closed = true;
    return false;
  }

  /** Whether it delivers no more and has to be opened again. */
  get isClosed(): boolean {
    return this.closed;
  }

  /** Whether no attempts are running. */
  get isIdle(): boolean {
    return this.running.size === 0;
  }
}

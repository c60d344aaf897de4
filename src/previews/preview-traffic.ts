import { BeforeApplicationShutdown, Inject, Injectable, OnApplicationBootstrap } from '@nestjs/common';
import { Counter, Gauge } from 'prom-client';
import { LOGGER, type Logger } from '../logging';
import { Metrics } from '../metrics';
import { Poll } from '../scheduling';
import { UsageLedger } from '../usage';

/** How often what passed is written: a process that crashes loses the bytes of this time at most. */
const WRITE_MS = 60_000;

/** Counts what passes through previews: for this process's metrics, and for the usage of the containers' owners. */
@Injectable()
export class PreviewTraffic implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly open: Gauge<'kind'>;
  private readonly ended: Counter<'kind' | 'outcome'>;
  private readonly bytes: Counter;
  private unwritten = new Map<string, number>();
  private readonly poll: Poll;

  constructor(
    { registry }: Metrics,
    private readonly ledger: UsageLedger,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    const registers = [registry];
    this.open = new Gauge({
      name: 'berth_preview_connections',
      help: 'Open requests and WebSockets of previews.',
      labelNames: ['kind'] as const,
      registers,
    });
    this.ended = new Counter({
      name: 'berth_preview_requests_total',
      help: 'Completed requests and WebSockets of previews: ok, or the reason of the failure.',
      labelNames: ['kind', 'outcome'] as const,
      registers,
    });
    this.bytes = new Counter({
      name: 'berth_preview_bytes_total',
      help: 'Bytes of bodies and WebSockets transferred by previews in both directions.',
      registers,
    });
    this.poll = new Poll({ everyMs: WRITE_MS, work: () => this.write(), onFault: (error) => this.noteFault(error) });
  }

  onApplicationBootstrap(): void {
    this.poll.start();
  }

  /** The listener is closed by now, and the database is still open. */
  async beforeApplicationShutdown(): Promise<void> {
    this.poll.stop();
    await this.write().catch((error: unknown) => this.noteFault(error));
  }

  /** @returns a function to be called at the end, with the code of the error or `ok` */
  begin(kind: 'request' | 'websocket'): (outcome: string) => void {
    this.open.inc({ kind });
    return (outcome) => {
      this.open.dec({ kind });
      this.ended.inc({ kind, outcome });
    };
  }

  /** Called for each chunk, so nothing is written yet. */
  count(userId: string, bytes: number): void {
    this.bytes.inc(bytes);
    this.keep(userId, bytes);
  }

  /** Adds what was counted to the usage of its users. What cannot be written is kept for the next time. */
  async write(): Promise<void> {
    const counted = this.unwritten;
    this.unwritten = new Map();
    try {
      for (const [userId, bytes] of counted) {
        await this.ledger.recordPreviewBytes(userId, bytes);
        counted.delete(userId);
      }
    } finally {
      for (const [userId, bytes] of counted) this.keep(userId, bytes);
    }
  }

  private keep(userId: string, bytes: number): void {
    this.unwritten.set(userId, (this.unwritten.get(userId) ?? 0) + bytes);
  }

  private noteFault(error: unknown): void {
    this.logger.warn({ err: error }, 'bytes of previews could not be added to the usage');
  }
}

import { randomUUID } from 'node:crypto';
import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../../../ormconfig';
import { UserEntity } from '../../../src/auth';
import { Database } from '../../../src/database';
import { BerthEvent, EventDraft, EventFeed, EventLog } from '../../../src/events';
import { EventRetention } from '../../../src/events/log';
import { Clock } from '../../../src/scheduling';
import { Signals } from '../../../src/signals';

/** The events module of one server process: its own connections, log and feed. */
export class EventsProcess {
  private constructor(
    readonly dataSource: DataSource,
    readonly database: Database,
    readonly log: EventLog,
    readonly retention: EventRetention,
    readonly feed: EventFeed,
  ) {}

  static async start({ url, signals }: { url: string; signals: Signals }): Promise<EventsProcess> {
    const dataSource = new DataSource({ ...dataSourceOptions(url), migrationsRun: true });
    await dataSource.initialize();
    const database = new Database(dataSource);
    const log = new EventLog(database, signals);
    const retention = new EventRetention(database, new Clock(), { EVENT_RETENTION: 3_600_000 });
    return new EventsProcess(dataSource, database, log, retention, new EventFeed(log, database, signals, {}));
  }

  async newUser(): Promise<string> {
    const id = randomUUID();
    await this.database.manager.insert(UserEntity, {
      id,
      username: id,
      tier: 'pro',
      eventSeq: 0,
      sessionExpiresAt: null,
      suspendedAt: null,
      deletedAt: null,
      createdAt: new Date(),
    });
    return id;
  }

  commit(userId: string, ...messages: string[]): Promise<BerthEvent[]> {
    return this.database.runInTx(() => this.log.append({ userId, drafts: messages.map(draft) }));
  }

  async stop(): Promise<void> {
    this.feed.onApplicationShutdown();
    await this.dataSource.destroy();
  }
}

/** An event draft; `message` identifies it. */
export function draft(message: string): EventDraft {
  return {
    type: 'container_progress',
    data: {
      id: 'a'.repeat(64),
      db_id: '3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11',
      name: 'dev',
      status: 'creating',
      image: 'ubuntu:24.04',
      role: null,
      labels: {},
      resources: { memory_mb: 256, cpu_shares: 250, disk_mb: 1024 },
      network: 'internet',
      stage: 'pull',
      message,
      progress: 50,
    },
  };
}

/** What one subscription received, in order: the `seq` of events, and `resync N`. */
export class Told {
  readonly all: (number | string)[] = [];
  readonly events: BerthEvent[] = [];
  private subscription: { close(): void } | undefined;

  async follow(feed: EventFeed, options: { userId: string; after?: number }): Promise<this> {
    this.subscription = await feed.subscribe({
      ...options,
      onEvent: (event) => {
        this.events.push(event);
        this.all.push(event.seq);
      },
      onResyncRequired: (seq) => this.all.push(`resync ${seq}`),
    });
    return this;
  }

  close(): void {
    this.subscription?.close();
  }
}

/** [from, …, to] */
export function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(to - from + 1, 0) }, (_, index) => from + index);
}

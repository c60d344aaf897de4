import { Injectable } from '@nestjs/common';
import { DomainError } from '../errors';
import { EventFeed } from '../events';
import type { Caller } from './access/container-access';
import { WaitsByUser, Wake } from './access/waits';
import { snapshotView, type SnapshotView } from './dto/snapshots';
import { SnapshotRepository } from './rows/snapshot.repository';
import { SnapshotAccess } from './snapshots/snapshot-access';

/** Waits for snapshots. Their events, from any process, wake it. */
@Injectable()
export class SnapshotWait {
  private readonly waits = new WaitsByUser();

  constructor(
    private readonly access: SnapshotAccess,
    private readonly snapshots: SnapshotRepository,
    private readonly feed: EventFeed,
  ) {}

  /**
   * Waits until a snapshot is ready.
   *
   * @throws DomainError `snapshot_not_found`, `not_authorized`; `status_not_reached` when the time is over or the wait
   *   is aborted; `status_unreachable` if the snapshot failed or is deleted; `too_many_connections`
   */
  async untilReady(
    caller: Caller,
    id: string,
    { timeoutMs, signal }: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<SnapshotView> {
    const deadline = performance.now() + timeoutMs;
    const row = await this.access.find(caller, id);
    const leave = this.waits.enter(caller.userId, Date.now() + timeoutMs);
    const wake = new Wake();
    const onAbort = (): void => wake.now();
    signal?.addEventListener('abort', onAbort, { once: true });
    const feed = this.feed.subscribe({
      userId: caller.userId,
      onEvent: ({ data }) => {
        if (data.id === row.id) wake.now();
      },
      onResyncRequired: () => wake.now(),
    });
    try {
      await feed;
      for (;;) {
        const now = await this.snapshots.find(row.id);
        if (now?.status === 'ready') return snapshotView(now);
        const status = now?.status ?? 'deleted';
        if (status !== 'making') throw new DomainError('status_unreachable', { fields: { status } });
        const left = deadline - performance.now();
        if (left <= 0 || signal?.aborted) throw new DomainError('status_not_reached', { fields: { status } });
        await wake.within(left);
      }
    } finally {
      leave();
      signal?.removeEventListener('abort', onAbort);
      await feed.then((subscription) => subscription.close()).catch(() => undefined);
    }
  }
}

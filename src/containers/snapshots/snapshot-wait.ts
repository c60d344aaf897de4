import { Injectable } from '@nestjs/common';
import { EventFeed } from '../../events';
import type { Caller } from '../access/container-access';
import { EventWait, unreachable, type WaitLimits } from '../access/waits';
import { snapshotView, type SnapshotView } from '../dto/snapshots';
import { SnapshotRepository } from '../rows/snapshot.repository';
import { SnapshotAccess } from './snapshot-access';

/** Waits for snapshots. */
@Injectable()
export class SnapshotWait extends EventWait {
  constructor(
    private readonly access: SnapshotAccess,
    private readonly snapshots: SnapshotRepository,
    feed: EventFeed,
  ) {
    super(feed);
  }

  /**
   * Waits until a snapshot is ready.
   *
   * @throws DomainError `snapshot_not_found`, `not_authorized`; `status_not_reached` when the time is over or the wait
   *   is aborted; `status_unreachable` if the snapshot failed or is deleted; `too_many_connections`; `shutting_down`
   */
  async untilReady(caller: Caller, id: string, limits: WaitLimits): Promise<SnapshotView> {
    return this.wait(caller.userId, limits, async () => {
      const found = await this.access.find(caller, id);
      return {
        isAbout: ({ data }) => data.id === found.id,
        look: async () => {
          const row = await this.snapshots.find(found.id);
          if (row?.status === 'ready') return { reached: snapshotView(row) };
          const status = row?.status ?? 'deleted';
          if (status !== 'making') throw unreachable(status);
          return { status };
        },
      };
    });
  }
}

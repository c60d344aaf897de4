import { ApiProperty } from '@nestjs/swagger';
import { Amount, Count, Uuid } from '../../api-fields';
import { ApiNextCursor, type Page } from '../../http';
import type { UserDay } from '../usage-reader';

/** The use of all containers and snapshots of a user on one day, added up. */
class DailyUsageView {
  @ApiProperty({ format: 'date', example: '2026-11-26', description: 'UTC day.' })
  readonly day: string;
  @Amount('Container run time in seconds: two containers running all day make 172800.', { example: 86_400 })
  readonly running_seconds: number;
  @Amount('Memory limit in MiB × seconds of run time.', { example: 44_236_800 })
  readonly memory_mb_seconds: number;
  @Amount('CPU limit in millicores × seconds of run time.', { example: 43_200_000 })
  readonly cpu_share_seconds: number;
  @Amount('Disk size in MiB × seconds for which the data was kept: running, stopped, and deleted until the purge.', {
    example: 176_947_200,
  })
  readonly disk_mb_seconds: number;
  @Amount('Snapshot size, rounded up to MiB, × seconds from ready to deletion.', { example: 8_640_000 })
  readonly snapshot_mb_seconds: number;
  @Count('Bytes transferred by previews in both directions, without headers.', { example: 5_242_880 })
  readonly preview_bytes: number;
}

/** The response of `GET /api/usage`. */
export class UsageView {
  @ApiProperty({ type: [DailyUsageView], description: 'Newest day first; days without usage are omitted.' })
  readonly usage: readonly DailyUsageView[];
}

/** The use of one user on one day. */
class UserDailyUsageView extends DailyUsageView {
  @Uuid() readonly user_id: string;
}

/** The response of `GET /api/admin/usage`. */
export class UsageListView {
  @ApiProperty({ type: [UserDailyUsageView], description: 'Newest day first; days without usage are omitted.' })
  readonly usage: readonly UserDailyUsageView[];
  @ApiNextCursor() readonly next_cursor: string | null;
}

export function viewUsage(days: readonly UserDay[]): UsageView {
  return { usage: days.map(viewDay) };
}

export function viewUsageList({ items, next_cursor }: Page<UserDay>): UsageListView {
  return { usage: items.map((entry) => Object.assign({ user_id: entry.userId }, viewDay(entry))), next_cursor };
}

function viewDay({
  day,
  runningMs,
  memoryMbMs,
  cpuSharesMs,
  diskMbMs,
  snapshotMbMs,
  previewBytes,
}: UserDay): DailyUsageView {
  return {
    day: day.toISOString().slice(0, 10),
    running_seconds: runningMs / 1000,
    memory_mb_seconds: memoryMbMs / 1000,
    cpu_share_seconds: cpuSharesMs / 1000,
    disk_mb_seconds: diskMbMs / 1000,
    snapshot_mb_seconds: snapshotMbMs / 1000,
    preview_bytes: previewBytes,
  };
}

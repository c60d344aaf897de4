import type { DailyUsageView } from '@berth/client';
import type { JSX } from 'preact';
import { tenths } from '../words/format';
import { resourceWords } from '../words/resources';

const HOUR = 3600;

/** Little is not nothing. */
const amount = (value: number): string => (value > 0 && value < 0.05 ? `< ${tenths(0.1)}` : tenths(value));

/** The columns of {@link UsedAmounts}. */
export const USED_COLUMNS = [
  { end: resourceWords.used.memory },
  { end: resourceWords.used.cpu },
  { end: resourceWords.used.disk },
  { end: resourceWords.used.snapshots },
  { end: resourceWords.used.previews },
] as const;

/** What was used, as cells of a table. */
export function UsedAmounts({ of }: { readonly of: Omit<DailyUsageView, 'day' | 'running_seconds'> }): JSX.Element {
  return (
    <>
      <td class="end" data-name="memory">
        {amount(of.memory_mb_seconds / 1024 / HOUR)}
      </td>
      <td class="end" data-name="CPU">
        {amount(of.cpu_share_seconds / 1000 / HOUR)}
      </td>
      <td class="end" data-name="disk">
        {amount(of.disk_mb_seconds / 1024 / HOUR)}
      </td>
      <td class="end" data-name="snapshots">
        {amount(of.snapshot_mb_seconds / 1024 / HOUR)}
      </td>
      <td class="end" data-name="previews">
        {amount(of.preview_bytes / 2 ** 20)}
      </td>
    </>
  );
}

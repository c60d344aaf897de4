import type { JSX } from 'preact';
import type { DailyUsageView } from '@berth/client';
import { berth } from '../data/berth';
import { cpus, duration, megabytes, onDay } from '../data/format';
import { agents, containers, me, usage } from '../data/live';
import { Empty, Listing, Meter, PageHead, Shown, useLoaded } from '../ui/parts';
import { DiskSize } from '../ui/resources';
import { USED_COLUMNS, UsedAmounts } from '../ui/used-amounts';

/** What the user may have, has, and has used. */
export function Usage(): JSX.Element {
  const days = useLoaded(() => berth.account.usage());
  return (
    <>
      <PageHead title="Usage" aside={<span class="muted">Tier {me.value?.tier}</span>} />
      <Limits />
      <Shown of={days}>{(usageDays) => <DaysTable days={usageDays} />}</Shown>
    </>
  );
}

function Limits(): JSX.Element | null {
  const limits = me.value?.limits;
  if (!limits) return null;
  const running = containers.value.filter(({ status }) => status === 'running');
  const sum = (of: 'memory_mb' | 'cpu_shares'): number =>
    running.reduce((total, { resources }) => total + resources[of], 0);
  const used = usage.value?.containers ?? 0;
  return (
    <div class="limit-grid">
      <div class="panel">
        <span class="muted">Containers</span>
        <span class="big">
          {used} <span class="muted small">of {limits.containers}</span>
        </span>
        <Meter value={used} max={limits.containers} label="Containers" />
      </div>
      <div class="panel">
        <span class="muted">Running now</span>
        <span class="big">{running.length}</span>
        <span class="small muted">
          {megabytes(sum('memory_mb'))} memory, {cpus(sum('cpu_shares'))}
        </span>
      </div>
      <div class="panel">
        <span class="muted">One container at most</span>
        <span class="big">{megabytes(limits.max.memory_mb)}</span>
        <span class="small muted">
          {cpus(limits.max.cpu_shares)}, <DiskSize mb={limits.max.disk_mb} words="disk" />
        </span>
      </div>
      <div class="panel">
        <span class="muted">Agents online</span>
        <span class="big">
          {agents.value.size} <span class="muted small">of {limits.agents}</span>
        </span>
        <span class="small muted">
          {limits.auto_stop_seconds === null
            ? 'Containers are not stopped for being unused'
            : `Unused containers ${limits.idle_action === 'stop' ? 'stop' : 'are paused'} after ${duration(limits.auto_stop_seconds)}`}
        </span>
      </div>
    </div>
  );
}

function DaysTable({ days }: { readonly days: readonly DailyUsageView[] }): JSX.Element {
  const most = Math.max(...days.map(({ running_seconds }) => running_seconds), 1);
  return (
    <Listing
      items={days}
      caption="Use by day, the newest first"
      columns={['Day (UTC)', 'Running', ...USED_COLUMNS]}
      empty={
        <Empty title="Nothing used in the last 31 days">
          <p>Running containers count by their limits, day by day.</p>
        </Empty>
      }
    >
      {({ day, running_seconds, ...amounts }) => (
        <tr key={day}>
          <td class="nowrap">{onDay(day)}</td>
          <td>
            <div class="progress">
              <span>{duration(running_seconds)}</span>
              <Meter value={running_seconds} max={most * 1.001} label={`Running on ${day}`} />
            </div>
          </td>
          <UsedAmounts of={amounts} />
        </tr>
      )}
    </Listing>
  );
}

import type { JSX } from 'preact';
import type { DailyUsageView, MeView } from '@berth/client';
import { berth } from '../data/berth';
import { cpus, duration, megabytes, onDay } from '../words/format';
import { agents, containers, me, usage } from '../data/live';
import { Empty, Listing, Meter, PageHead, Shown, useLoaded } from '../ui/parts';
import { USED_COLUMNS, UsedAmounts } from '../ui/used-amounts';
import { usageWords } from '../words/usage';

/** What the user may have, has, and has used. */
export function Usage(): JSX.Element {
  const days = useLoaded(() => berth.account.usage());
  return (
    <>
      <PageHead title={usageWords.title} aside={<span class="muted">{usageWords.tier(me.value?.tier ?? '')}</span>} />
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
        <span class="muted">{usageWords.containers}</span>
        <span class="big">{usageWords.share({ used, limit: limits.containers, small })}</span>
        <Meter value={used} max={limits.containers} label={usageWords.containers} />
      </div>
      <div class="panel">
        <span class="muted">{usageWords.runningNow}</span>
        <span class="big">{running.length}</span>
        <span class="small muted">
          {usageWords.runningHas({ memory: megabytes(sum('memory_mb')), cpu: cpus(sum('cpu_shares')) })}
        </span>
      </div>
      <div class="panel">
        <span class="muted">{usageWords.oneAtMost}</span>
        <span class="big">{megabytes(limits.max.memory_mb)}</span>
        <span class="small muted">
          {cpus(limits.max.cpu_shares)}, {megabytes(limits.max.disk_mb)} {usageWords.disk}
        </span>
      </div>
      <div class="panel">
        <span class="muted">{usageWords.agentsOnline}</span>
        <span class="big">{usageWords.share({ used: agents.value.size, limit: limits.agents, small })}</span>
        <span class="small muted">{idleInWords(limits)}</span>
      </div>
    </div>
  );
}

/** When the server stops or pauses unused containers. */
function idleInWords({ auto_stop_seconds, idle_action }: MeView['limits']): string {
  if (auto_stop_seconds === null) return usageWords.unused.continue;
  const time = duration(auto_stop_seconds);
  return idle_action === 'stop' ? usageWords.unused.stop(time) : usageWords.unused.pause(time);
}

const small = (text: string): JSX.Element => <span class="muted small">{text}</span>;

function DaysTable({ days }: { readonly days: readonly DailyUsageView[] }): JSX.Element {
  const most = Math.max(...days.map(({ running_seconds }) => running_seconds), 1);
  return (
    <Listing
      items={days}
      caption={usageWords.days.caption}
      columns={[usageWords.days.day, usageWords.days.running, ...USED_COLUMNS]}
      empty={
        <Empty title={usageWords.days.empty}>
          <p>{usageWords.days.emptyText}</p>
        </Empty>
      }
    >
      {({ day, running_seconds, ...amounts }) => (
        <tr key={day}>
          <td class="nowrap">{onDay(day)}</td>
          <td>
            <div class="progress">
              <span>{duration(running_seconds)}</span>
              <Meter value={running_seconds} max={most * 1.001} label={usageWords.days.runningOn(day)} />
            </div>
          </td>
          <UsedAmounts of={amounts} />
        </tr>
      )}
    </Listing>
  );
}

import type { JSX } from 'preact';
import type { DailyUsageView } from '@berth/client';
import { berth } from '../data/berth';
import { cpus, duration, megabytes, onDay } from '../data/format';
import { agents, containers, me, usage } from '../data/live';
import { Empty, Meter, PageHead, Shown, useLoaded } from '../ui/parts';

const HOUR = 3600;
const one = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

/** What the user may have, has, and has used. */
export function Usage(): JSX.Element {
  const days = useLoaded(() => berth.account.usage());
  return (
    <>
      <PageHead title="Usage" aside={<span class="muted">Tier {me.value?.tier}</span>} />
      <Limits />
      <Shown of={days}>
        {(usageDays) =>
          usageDays.length === 0 ? (
            <div class="panel">
              <Empty title="Nothing used in the last 31 days">
                <p>Running containers count by their limits, day by day.</p>
              </Empty>
            </div>
          ) : (
            <DaysTable days={usageDays} />
          )
        }
      </Shown>
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
          {cpus(limits.max.cpu_shares)}, {megabytes(limits.max.disk_mb)} disk
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
            : `Unused containers stop after ${duration(limits.auto_stop_seconds)}`}
        </span>
      </div>
    </div>
  );
}

function DaysTable({ days }: { readonly days: readonly DailyUsageView[] }): JSX.Element {
  const most = Math.max(...days.map(({ running_seconds }) => running_seconds), 1);
  return (
    <div class="panel">
      <table class="table cards">
        <caption class="visually-hidden">Use by day, the newest first</caption>
        <thead>
          <tr>
            <th scope="col">Day (UTC)</th>
            <th scope="col">Running</th>
            <th scope="col" class="end">
              Memory, GB × hours
            </th>
            <th scope="col" class="end">
              CPU, hours
            </th>
            <th scope="col" class="end">
              Disk, GB × hours
            </th>
          </tr>
        </thead>
        <tbody>
          {days.map(({ day, running_seconds, memory_mb_seconds, cpu_share_seconds, disk_mb_seconds }) => (
            <tr key={day}>
              <td class="nowrap">{onDay(day)}</td>
              <td>
                <div class="progress">
                  <span>{duration(running_seconds)}</span>
                  <Meter value={running_seconds} max={most * 1.001} label={`Running on ${day}`} />
                </div>
              </td>
              <td class="end" data-name="memory">
                {one.format(memory_mb_seconds / 1024 / HOUR)}
              </td>
              <td class="end" data-name="CPU">
                {one.format(cpu_share_seconds / 1000 / HOUR)}
              </td>
              <td class="end" data-name="disk">
                {one.format(disk_mb_seconds / 1024 / HOUR)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

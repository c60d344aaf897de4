import type { AmountView, FreeView, SweepReport, UserDailyUsageView } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { freeInWords, reservedInWords } from '../data/capacity';
import { count, cpus, duration, megabytes } from '../data/format';
import { hasNodes, health, nameOf, readHealth, readUserNames } from '../data/server';
import { later } from '../ui/later';
import { Meter, PageHead, Shown, Status, Table, useLoaded, WorkButton } from '../ui/parts';
import { USED_COLUMNS, UsedAmounts } from '../ui/used-amounts';

const DayCharts = later(async () => (await import('../ui/day-charts')).DayCharts);
const loadHistory = (): ReturnType<typeof berth.admin.capacityHistory> => berth.admin.capacityHistory();

/** The machine, for administrators: its health, its capacity now and in the last day, and a comparison with Docker. */
export function Machine(): JSX.Element {
  const capacity = useLoaded(() => berth.admin.capacity());
  const [report, setReport] = useState<SweepReport | null>(null);
  useEffect(() => void readHealth(), []);
  const reconcile = async (): Promise<void> => {
    setReport(await berth.admin.reconcile());
    await Promise.all([capacity.reload(), readHealth()]);
  };
  const machine = hasNodes.value ? 'cluster' : 'machine';
  return (
    <>
      <PageHead title="Machine" aside={health.value && <HealthStatus of={health.value.status} />}>
        <WorkButton run={reconcile}>Compare with Docker</WorkButton>
      </PageHead>
      {report && <Report of={report} />}
      <Shown of={capacity}>
        {(room) => (
          <div class="limit-grid">
            <Reserved title="Memory" of={room.memory_mb} show={megabytes} machine={machine} />
            <Reserved title="CPU" of={room.cpu_shares} show={cpus} machine={machine} />
            <Free
              title="Free memory"
              of={room.free_memory_mb}
              note={`Nothing is started with less than ${megabytes(room.free_memory_mb.reserve)} free.`}
            />
            <Free
              title="Disk"
              of={room.free_disk_mb}
              note={
                `Nothing is created or started with less than ${megabytes(room.free_disk_mb.reserve)} free. ` +
                'Disk sizes of containers are limits: they are not reserved.'
              }
            />
          </div>
        )}
      </Shown>
      <section class="spaced" aria-labelledby="last-day">
        <h2 id="last-day" class="section-head">
          The last day
        </h2>
        <DayCharts name={`the ${machine}`} load={loadHistory} />
      </section>
      <WarmSlots />
      <UsedToday />
      <Checks />
    </>
  );
}

function HealthStatus({ of }: { readonly of: string }): JSX.Element {
  if (of === 'ok') return <Status of="ok" word="Healthy" />;
  return of === 'degraded' ? <Status of="warn" word="Has notices" /> : <Status of="error" word="Not ready" />;
}

interface AmountProps {
  readonly title: string;
  readonly of: AmountView;
  readonly show: (amount: number) => string;
  readonly machine: string;
}

function Reserved({ title, of, show, machine }: AmountProps): JSX.Element {
  const { reserved, limit } = of;
  return (
    <div class="panel" role="group" aria-label={title}>
      <span class="muted">{title}</span>
      <span>
        <span class="big">{show(reserved)}</span> {reservedInWords(of, { show, machine })}
      </span>
      {limit !== null && <Meter value={reserved} max={limit} label={`${title}, reserved`} />}
      <span class="small muted">Reserved are the limits of all running containers together.</span>
    </div>
  );
}

function Free({ title, of, note }: { readonly title: string; readonly of: FreeView; readonly note: string }) {
  const { free, total } = of;
  return (
    <div class="panel" role="group" aria-label={title}>
      <span class="muted">{title}</span>
      {free === null ? (
        <span>Unknown: Docker does not run on the server’s own machine.</span>
      ) : (
        <span>
          <span class="big">{megabytes(free)}</span> {freeInWords(of)}
        </span>
      )}
      {free !== null && total !== null && <Meter value={total - free} max={total} label={`${title}, used`} />}
      <span class="small muted">{note}</span>
    </div>
  );
}

const REPORT: readonly (readonly [keyof SweepReport, string])[] = [
  ['looked', 'containers compared'],
  ['reconciled', 'rows corrected after Docker'],
  ['finished', 'operations finished'],
  ['under_way', 'in progress'],
  ['reconnected', 'reconnected to their network'],
  ['moved', 'moved to another network'],
  ['removed_orphans', 'orphans removed'],
  ['purged', 'purged'],
  ['failed', 'failed'],
];

function Report({ of }: { readonly of: SweepReport }): JSX.Element {
  const found = REPORT.filter(([name]) => name === 'looked' || of[name] > 0);
  return (
    <p class={`notice spaced ${of.failed > 0 ? 'bad' : ''}`} role="status">
      Compared with Docker: {found.map(([name, words]) => `${count(of[name])} ${words}`).join(', ')}.
    </p>
  );
}

/** Containers that are started in advance; nothing if WARM_POOL is off. */
function WarmSlots(): JSX.Element {
  const pool = useLoaded(() => berth.admin.warm());
  const empty = async (): Promise<void> => {
    await berth.admin.emptyWarm();
    await pool.reload();
  };
  return (
    <Shown of={pool}>
      {({ mode, slots, hits, misses, waiting_for: why }) =>
        mode !== 'off' && (
          <section class="panel spaced" aria-labelledby="warm">
            <div class="panel-head">
              <h2 id="warm">Warm slots</h2>
              <WorkButton run={empty}>Empty</WorkButton>
            </div>
            <Table columns={['Image', 'Memory', 'CPU', 'Wanted', 'Ready', 'Starting']}>
              {slots.map((slot) => (
                <tr key={`${slot.key ?? ''} ${slot.image} ${String(slot.memory_mb)}`}>
                  <td>
                    <strong>{slot.image}</strong>
                  </td>
                  <td class="muted nowrap">{megabytes(slot.memory_mb)}</td>
                  <td class="muted nowrap">{cpus(slot.cpu_shares)}</td>
                  <td class="muted nowrap">{slot.wanted}</td>
                  <td class="muted nowrap">{slot.ready}</td>
                  <td class="muted nowrap">{slot.making}</td>
                </tr>
              ))}
            </Table>
            <p class="small muted panel-body">
              Creations that took one: {count(hits)}; that did not:{' '}
              {count(misses.reduce((sum, { count: missed }) => sum + missed, 0))}.
              {why !== null && ` Fewer than wanted: ${why.replaceAll('_', ' ')}.`}
            </p>
          </section>
        )
      }
    </Shown>
  );
}

/** Today's use by user, most memory first; the first page of many users. */
async function readToday(): Promise<readonly UserDailyUsageView[]> {
  const today = new Date().toISOString().slice(0, 10);
  const [{ items }] = await Promise.all([berth.admin.usage({ from: today, to: today }).page(), readUserNames()]);
  return items.toSorted((one, other) => other.memory_mb_seconds - one.memory_mb_seconds);
}

function UsedToday(): JSX.Element {
  const loaded = useLoaded(readToday);
  return (
    <Shown of={loaded}>
      {(users) =>
        users.length > 0 && (
          <section class="panel spaced" aria-labelledby="today">
            <div class="panel-head">
              <h2 id="today">Used today, by user</h2>
            </div>
            <Table columns={['User', 'Running', ...USED_COLUMNS]}>
              {users.map((use) => (
                <tr key={use.user_id}>
                  <td>
                    <strong>{nameOf(use.user_id)}</strong>
                  </td>
                  <td class="muted nowrap">{duration(use.running_seconds)}</td>
                  <UsedAmounts of={use} />
                </tr>
              ))}
            </Table>
          </section>
        )
      }
    </Shown>
  );
}

/** The checks of `GET /health/ready`. */
function Checks(): JSX.Element | null {
  const { value } = health;
  if (!value) return null;
  const facts: readonly (readonly [string, string | null])[] = [
    ...Object.entries(value.checks).map(([name, state]) => [NAMES[name] ?? name, state] as const),
    ['Runtime', value.runtime],
    ['Firewall', value.host_firewall],
    ['Allow lists', value.allow_lists],
    ['Disk quotas', value.disk_quota],
    ['Docker is', value.docker_identity],
    ['Sandbox proof', value.sandbox_proof],
    ['Disk', value.disk && `${megabytes(value.disk.free_mb)} of ${megabytes(value.disk.total_mb)} free`],
  ];
  return (
    <section class="panel" aria-labelledby="health">
      <div class="panel-head">
        <h2 id="health">Health</h2>
      </div>
      <dl class="facts panel-body">
        {facts.map(([name, state]) => (
          <>
            <dt>{name}</dt>
            <dd>{state ?? <span class="muted">unknown</span>}</dd>
          </>
        ))}
        {value.notices.length > 0 && (
          <>
            <dt>Notices</dt>
            <dd>
              {value.notices.map((notice) => (
                <p key={notice}>{notice}</p>
              ))}
            </dd>
          </>
        )}
      </dl>
    </section>
  );
}

const NAMES: Readonly<Record<string, string>> = { database: 'Database', docker: 'Docker' };

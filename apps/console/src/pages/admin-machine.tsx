import type { AmountView, FreeView, IdleView, SweepReport, UserDailyUsageView } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { freeInWords, reservedInWords } from '../data/capacity';
import { count, cpus, duration, megabytes } from '../words/format';
import { hasNodes, health, isDiskEnforced, nameOf, readHealth, readUserNames } from '../data/server';
import { later } from '../ui/later';
import { Meter, PageHead, Shown, Status, Table, useLoaded, WorkButton } from '../ui/parts';
import { USED_COLUMNS, UsedAmounts } from '../ui/used-amounts';
import { machineWords } from '../words/admin-machine';
import { commonWords } from '../words/common';

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
  const machine = hasNodes.value ? machineWords.cluster : machineWords.machine;
  return (
    <>
      <PageHead title={machineWords.title} aside={health.value && <HealthStatus of={health.value.status} />}>
        <WorkButton run={reconcile}>{machineWords.compare}</WorkButton>
      </PageHead>
      {report && <Report of={report} />}
      <Shown of={capacity}>
        {(room) => (
          <div class="limit-grid">
            <Reserved title={machineWords.memory} of={room.memory_mb} show={megabytes} machine={machine} />
            <Reserved title={machineWords.cpu} of={room.cpu_shares} show={cpus} machine={machine} />
            <Free
              title={machineWords.freeMemory}
              of={room.free_memory_mb}
              note={machineWords.capacity.memoryReserve(megabytes(room.free_memory_mb.reserve))}
            />
            <Free
              title={machineWords.disk}
              of={room.free_disk_mb}
              note={[
                machineWords.capacity.diskReserve(megabytes(room.free_disk_mb.reserve)),
                ...(isDiskEnforced.value === false ? [machineWords.capacity.diskNotEnforced] : []),
              ].join(' ')}
            />
            <Idle of={room.idle} />
          </div>
        )}
      </Shown>
      <section class="spaced" aria-labelledby="last-day">
        <h2 id="last-day" class="section-head">
          {machineWords.lastDay}
        </h2>
        <DayCharts
          name={hasNodes.value ? machineWords.theCluster : machineWords.theMachine}
          load={loadHistory}
          present={
            capacity.value && {
              memory_reserved_mb: capacity.value.memory_mb.reserved,
              cpu_reserved_shares: capacity.value.cpu_shares.reserved,
            }
          }
        />
      </section>
      <WarmSlots />
      <UsedToday />
      <Checks />
    </>
  );
}

function HealthStatus({ of }: { readonly of: string }): JSX.Element {
  if (of === 'ok') return <Status of="ok" word={machineWords.status.ok} />;
  return of === 'degraded' ? (
    <Status of="warn" word={machineWords.status.degraded} />
  ) : (
    <Status of="error" word={machineWords.status.notReady} />
  );
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
      {limit !== null && <Meter value={reserved} max={limit} label={machineWords.capacity.reserved(title)} />}
      <span class="small muted">{machineWords.capacity.reservedIs}</span>
    </div>
  );
}

function Free({ title, of, note }: { readonly title: string; readonly of: FreeView; readonly note: string }) {
  const { free, total } = of;
  return (
    <div class="panel" role="group" aria-label={title}>
      <span class="muted">{title}</span>
      {free === null ? (
        <span>{machineWords.capacity.isUnknown}</span>
      ) : (
        <span>
          <span class="big">{megabytes(free)}</span> {freeInWords(of)}
        </span>
      )}
      {free !== null && total !== null && (
        <Meter value={total - free} max={total} label={machineWords.capacity.used(title)} />
      )}
      <span class="small muted">{note}</span>
    </div>
  );
}

/** The number of idle sandboxes, and what each of them costs or how an operator reduces that. */
function Idle({ of }: { readonly of: IdleView }): JSX.Element {
  const { title, unused, cost, notMeasured } = machineWords.idle;
  const advice = health.value?.idle_sandbox?.advice ?? null;
  return (
    <div class="panel" role="group" aria-label={title}>
      <span class="muted">{title}</span>
      <span>
        <span class="big">{count(of.containers)}</span> {unused}
      </span>
      <span class="small muted">{advice ?? (of.cpu_shares === null ? notMeasured : cost(of.cpu_shares))}</span>
    </div>
  );
}

const REPORT = [
  'looked',
  'reconciled',
  'finished',
  'under_way',
  'reconnected',
  'moved',
  'removed_orphans',
  'purged',
  'failed',
] as const satisfies readonly (keyof SweepReport)[];

function Report({ of }: { readonly of: SweepReport }): JSX.Element {
  const found = REPORT.filter((name) => name === 'looked' || of[name] > 0);
  return (
    <p class={`notice spaced ${of.failed > 0 ? 'bad' : ''}`} role="status">
      {machineWords.report.summary(found.map((name) => machineWords.report[name](of[name])))}
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
              <h2 id="warm">{machineWords.warm.title}</h2>
              <WorkButton run={empty}>{machineWords.warm.empty}</WorkButton>
            </div>
            <Table
              columns={[
                commonWords.image,
                machineWords.memory,
                machineWords.cpu,
                machineWords.warm.wanted,
                machineWords.warm.ready,
                machineWords.warm.starting,
              ]}
            >
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
              {machineWords.warm.taken({ hits, misses: misses.reduce((sum, { count }) => sum + count, 0) })}
              {why !== null && ` ${machineWords.warm.fewer(why.replaceAll('_', ' '))}`}
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
              <h2 id="today">{machineWords.today.title}</h2>
            </div>
            <Table columns={[commonWords.user, machineWords.today.running, ...USED_COLUMNS]}>
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
  const words = machineWords.health;
  if (!value) return null;
  const facts: readonly (readonly [string, string | null])[] = [
    ...Object.entries(value.checks).map(([name, state]) => [NAMES[name] ?? name, state] as const),
    [words.runtime, value.runtime],
    [words.firewall, value.host_firewall],
    [words.allowLists, value.allow_lists],
    [words.diskQuotas, value.disk_quota],
    [words.dockerIs, value.docker_identity],
    [words.sandboxProof, value.sandbox_proof],
    [
      machineWords.disk,
      value.disk && words.diskFree({ free: megabytes(value.disk.free_mb), total: megabytes(value.disk.total_mb) }),
    ],
  ];
  return (
    <section class="panel" aria-labelledby="health">
      <div class="panel-head">
        <h2 id="health">{words.title}</h2>
      </div>
      <dl class="facts panel-body">
        {facts.map(([name, state]) => (
          <>
            <dt>{name}</dt>
            <dd>{state ?? <span class="muted">{machineWords.unknown}</span>}</dd>
          </>
        ))}
        {value.notices.length > 0 && (
          <>
            <dt>{words.notices}</dt>
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

const NAMES: Readonly<Record<string, string>> = machineWords.health.checks;

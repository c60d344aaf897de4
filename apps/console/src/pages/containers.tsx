import { computed, signal } from '@preact/signals';
import type { JSX } from 'preact';
import { memo } from 'preact/compat';
import { useEffect, useRef, useState } from 'preact/hooks';
import { briefly, shortImage } from '../data/format';
import { type Container, containers, fault, lifetimeOf, listed, me, now, usage } from '../data/live';
import { berth } from '../data/berth';
import { pause, remove } from '../data/verbs';
import { inWords, reasonInWords } from '../data/words';
import { Link, navigate } from '../router';
import { PlusIcon } from '../ui/icons';
import { Menu } from '../ui/menu';
import { Empty, Meter, PageHead, Status, Table, WorkButton } from '../ui/parts';
import { ResourceAmounts } from '../ui/resources';
import { SettingsDialog } from './settings-dialog';
import { copyItems } from './snapshot-dialogs';

type ContainerStatus = Container['status'];
type Filter = 'all' | ContainerStatus;

const search = signal('');
const filter = signal<Filter>('all');
const beingSet = signal<Container | null>(null);

/** What its network is called, and what a filter finds it by. */
const networkOf = ({ network }: Container): string => `network:${typeof network === 'string' ? network : 'allow'}`;

/** What a filter finds of what ends by itself. */
function endsOf(container: Container): string[] {
  const { idle, deletion } = lifetimeOf(container);
  const ends = { 'auto-stop': idle, 'auto-delete': deletion, expires: container.expires_at };
  return Object.entries(ends).flatMap(([name, end]) => (end == null ? [] : [name]));
}

/**
 * `team:core` and `team` mean a label, `network:none` a network, `auto-stop`, `auto-delete` and `expires` that
 * something ends by itself; other words the name, the id, the image or a label's text.
 */
const searched = computed(() => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return containers.value;
  return containers.value.filter((container) => {
    const labels = Object.entries(container.labels).map(([key, value]) => `${key}:${value}`);
    const { name, db_id, image, role } = container;
    const text = [name, db_id, image, role ?? '', ...labels, networkOf(container), ...endsOf(container)]
      .join(' ')
      .toLowerCase();
    return words.every((word) => text.includes(word));
  });
});

const counts = computed(() => {
  const found = new Map<Filter, number>([['all', searched.value.length]]);
  for (const { status } of searched.value) found.set(status, (found.get(status) ?? 0) + 1);
  return found;
});

const shown = computed(() =>
  filter.value === 'all' ? searched.value : searched.value.filter(({ status }) => status === filter.value),
);

/** How many rows are drawn at first, and with each scroll to the end: a thousand at once would take a second. */
const ROWS = 60;

/** The live list of the user's containers. */
export function Containers(): JSX.Element {
  const canWrite = me.value?.scopes.some((scope) => scope === 'write' || scope === 'admin') ?? false;
  return (
    <>
      <PageHead title="Containers" aside={<Usage />}>
        {canWrite && (
          <Link class="button primary" href="/new">
            <PlusIcon /> New container
          </Link>
        )}
      </PageHead>
      {fault.value !== null && <p class="notice bad">{inWords(fault.value)}</p>}
      <Toolbar />
      <List />
      {beingSet.value && <SettingsDialog container={beingSet.value} onClose={() => (beingSet.value = null)} />}
    </>
  );
}

function Usage(): JSX.Element | null {
  if (!usage.value) return null;
  const { containers: used, limit } = usage.value;
  return (
    <span class="usage muted">
      {used} of {limit}
      <Meter value={used} max={limit} label="Containers of your tier's" />
    </span>
  );
}

const FILTERS: readonly (readonly [Filter, string])[] = [
  ['all', 'All'],
  ['running', 'Running'],
  ['paused', 'Paused'],
  ['stopped', 'Stopped'],
  ['creating', 'Creating'],
  ['error', 'Error'],
];

function Toolbar(): JSX.Element | null {
  if (containers.value.length === 0) return null;
  return (
    <div class="toolbar" role="search">
      <input
        class="input search"
        type="search"
        aria-label="Filter by name, image, label or network"
        placeholder="Filter: name, image, label, network:none"
        value={search.value}
        onInput={(event) => (search.value = event.currentTarget.value)}
      />
      <div class="segments" role="group" aria-label="Filter by status">
        {FILTERS.map(([value, name]) => (
          <button
            key={value}
            type="button"
            aria-pressed={filter.value === value}
            onClick={() => (filter.value = value)}
          >
            {name} <span class="faint">{counts.value.get(value) ?? 0}</span>
          </button>
        ))}
      </div>
    </div>
  );
}

function List(): JSX.Element {
  const [rows, setRows] = useState(ROWS);
  if (!listed.value) {
    return (
      <p class="muted" role="status">
        Loading…
      </p>
    );
  }
  if (containers.value.length === 0) return <NoContainers />;
  if (shown.value.length === 0) return <NothingFound />;
  return (
    <div class="panel">
      <Table
        caption="Your containers, the newest first"
        class="containers"
        columns={['Name', 'Status', 'Image', 'Resources', 'Use']}
        hasActions
      >
        {shown.value.slice(0, rows).map((container) => (
          <Row key={container.db_id} container={container} />
        ))}
      </Table>
      {shown.value.length > rows && (
        <MoreRows left={shown.value.length - rows} onMore={() => setRows((before) => before + ROWS)} />
      )}
    </div>
  );
}

/** Draws further rows once it comes into view, or when it is pressed. */
function MoreRows({ left, onMore }: { readonly left: number; readonly onMore: () => void }): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const observer = new IntersectionObserver(([entry]) => entry?.isIntersecting && onMore(), { rootMargin: '600px' });
    if (place.current) observer.observe(place.current);
    return () => observer.disconnect();
  }, [left]);
  return (
    <div class="more-rows" ref={place}>
      <button type="button" class="button" onClick={onMore}>
        Show more ({left})
      </button>
    </div>
  );
}

/** A row is drawn again only if its container is another object. */
const Row = memo(function Row({ container }: { readonly container: Container }): JSX.Element {
  const { db_id, name, labels, image, role, resources } = container;
  const address = `/containers/${db_id}`;
  const items = Object.entries(labels);
  return (
    <tr data-id={db_id}>
      <td>
        <div class="two">
          <Link class="name" href={address}>
            {name}
          </Link>
          {items.length > 0 && (
            <span class="chips">
              {items.slice(0, 4).map(([key, value]) => (
                <button
                  key={key}
                  type="button"
                  class="chip"
                  title={`Filter by ${key}:${value}`}
                  onClick={() => (search.value = `${key}:${value}`)}
                >
                  {value === '' ? key : `${key}: ${value}`}
                </button>
              ))}
              {items.length > 4 && <span class="chip">+{items.length - 4}</span>}
            </span>
          )}
        </div>
      </td>
      <td>
        <StatusCell container={container} />
      </td>
      <td class="muted">
        {shortImage(image)}
        {role !== null && (
          <>
            {' '}
            <span class="nowrap">+ {role}</span>
          </>
        )}
      </td>
      <td class="muted nowrap">
        <ResourceAmounts of={resources} />
      </td>
      <td class="muted nowrap">
        <Use container={container} />
      </td>
      <td class="actions-cell">
        <Actions container={container} />
      </td>
    </tr>
  );
});

/** The status, and how far what is under way has come. */
export function StatusCell({ container }: { readonly container: Container }): JSX.Element {
  const { status, status_reason, role_status, progress: step } = container;
  const reason = reasonInWords(status_reason);
  if (step) {
    return (
      <div class="progress">
        <Status of={status} {...(status === 'running' && { word: 'Running' })} />
        <Meter value={step.percent} max={100} label={`${container.name}: ${step.message}`} />
        <span class="small muted ellipsis" title={step.message}>
          {step.message}
        </span>
      </div>
    );
  }
  return (
    <div class="two">
      <Status of={status} />
      {reason !== null && status !== 'running' && <span class="small muted">{reason}</span>}
      {container.node_state === 'unreachable' && <span class="small muted">its machine does not answer</span>}
      {role_status === 'failed' && <span class="small muted">role failed</span>}
      {role_status === 'installing' && <span class="small muted">installing its role</span>}
      {status === 'running' && container.ready === false && <span class="small muted">not ready yet</span>}
    </div>
  );
}

/** For how long it has not been used, and when it ends by itself. */
export function Use({ container }: { readonly container: Container }): JSX.Element {
  const { status, last_used_at, expires_at } = container;
  const { idle: idleAfter, idleAction } = lifetimeOf(container);
  // The rest of a container that has just come is read a moment later.
  if (last_used_at === undefined) return <span>{idleInWords(status, 0)}</span>;
  const idle = Math.max(0, (now.value - Date.parse(last_used_at)) / 1000);
  const runEnd = expires_at ? (Date.parse(expires_at) - now.value) / 1000 : Infinity;
  const idleEnd = idleAfter === null ? Infinity : idleAfter - idle;
  const end = Math.min(runEnd, idleEnd);
  const isPaused = idleEnd < runEnd && idleAction !== 'stop';
  return (
    <div class="two">
      <span>{idleInWords(status, idle)}</span>
      {status === 'running' && Number.isFinite(end) && (
        <span class={`small ${end < 600 ? 'status warn' : ''}`}>
          {isPaused ? 'is paused' : 'stops'} in {briefly(Math.max(end, 1))}
        </span>
      )}
    </div>
  );
}

function idleInWords(status: ContainerStatus, seconds: number): string {
  if (status === 'creating') return '';
  if (status !== 'running') return seconds < 60 ? 'used just now' : `used ${briefly(seconds)} ago`;
  return seconds < 60 ? 'in use' : `idle ${briefly(seconds)}`;
}

function Actions({ container }: { readonly container: Container }): JSX.Element {
  const { db_id, name, status } = container;
  const go = (tab: string): void => navigate(`/containers/${db_id}#${tab}`);
  const isRunning = status === 'running';
  const isPaused = status === 'paused';
  return (
    <div class="actions">
      {isPaused && (
        <WorkButton class="button slim" aria-label={`Resume ${name}`} run={() => berth.containers.resume(db_id)}>
          Resume
        </WorkButton>
      )}
      {isRunning || isPaused ? (
        <WorkButton class="button slim" aria-label={`Stop ${name}`} run={() => berth.containers.stop(db_id)}>
          Stop
        </WorkButton>
      ) : (
        status !== 'creating' && (
          <WorkButton class="button slim" aria-label={`Start ${name}`} run={() => berth.containers.start(db_id)}>
            Start
          </WorkButton>
        )
      )}
      <Menu
        label={`More for ${name}`}
        items={[
          ...(isRunning
            ? [
                { name: 'Terminal', run: () => go('terminal') },
                { name: 'Files', run: () => go('files') },
                { name: 'Pause', run: () => void pause(container) },
              ]
            : []),
          { name: 'Settings', run: () => (beingSet.value = container) },
          ...copyItems(container),
          { name: 'Delete', isDangerous: true, run: () => void remove(container) },
        ]}
      />
    </div>
  );
}

function NoContainers(): JSX.Element {
  return (
    <div class="panel">
      <Empty title="No containers yet">
        <p>
          A container is a Linux machine of your own: a terminal, files, and a data folder, <code>/home/user</code>,
          that stays when it stops.
        </p>
        <Link class="button primary" href="/new">
          <PlusIcon /> Create your first container
        </Link>
      </Empty>
    </div>
  );
}

function NothingFound(): JSX.Element {
  const clear = (): void => {
    search.value = '';
    filter.value = 'all';
  };
  return (
    <div class="panel">
      <Empty title="Nothing fits the filter">
        <button type="button" class="button" onClick={clear}>
          Clear the filter
        </button>
      </Empty>
    </div>
  );
}

import type { SnapshotListView, SnapshotView } from '@berth/client';
import type { ComponentChildren, JSX } from 'preact';
import { berth } from '../data/berth';
import { bytes, milliseconds } from '../data/format';
import { connection, containerById, events } from '../data/live';
import { isAdmin } from '../data/server';
import { contentsInWords, reasonInWords } from '../words/errors';
import { Link, navigate } from '../router';
import { ask } from '../ui/dialog';
import { Menu } from '../ui/menu';
import { Ago, Listing, type Loaded, Meter, Status, useLoaded } from '../ui/parts';
import { editSnapshot, restoreSnapshot } from './snapshot-dialogs';

interface OwnSnapshots {
  /** The newest first. */
  readonly snapshots: readonly SnapshotView[];
  readonly usage: SnapshotListView['usage'];
}

async function readSnapshots(container?: string): Promise<OwnSnapshots> {
  const list = berth.snapshots.list({ limit: 200, ...(container !== undefined && { container }) });
  const first = await list.page();
  const snapshots = [...first.items];
  for (let next = first.nextCursor; next !== null;) {
    const page = await list.page(next);
    snapshots.push(...page.items);
    next = page.nextCursor;
  }
  return { snapshots, usage: first.answer.usage };
}

/** The user's snapshots, read again after each event about one, and after a break of the connection. */
export function useSnapshots(container?: string): Loaded<OwnSnapshots> {
  const newest = events.value.find(({ type }) => type.startsWith('snapshot_') && type !== 'snapshot_progress')?.seq;
  return useLoaded(() => readSnapshots(container), [newest, connection.value === 'live']);
}

/** What {@link contentsInWords} means, by `root`. */
const CONTENTS_HINTS = {
  true: 'The files of /home/user, and what was written elsewhere, such as installed software',
  false: 'The files of /home/user; not what was written elsewhere, such as installed software',
} as const;

/** What a snapshot contains; nothing is known before it is ready. */
export function Contents({ of }: { readonly of: SnapshotView }): JSX.Element | null {
  return of.status === 'ready' ? <span title={CONTENTS_HINTS[`${of.root}`]}>{contentsInWords(of)}</span> : null;
}

/** The status of a snapshot, and the progress of one that is being made. */
export function SnapshotStatus({ of }: { readonly of: SnapshotView }): JSX.Element {
  const { id, name, status, status_reason, downtime_ms } = of;
  if (status === 'making') {
    const last = events.value.find(({ data }) => 'id' in data && data.id === id);
    const { percent, message } = last?.type === 'snapshot_progress' ? last.data : { percent: 0, message: '' };
    return (
      <div class="progress">
        <Status of="creating" word="Making" />
        <Meter value={percent} max={100} label={`${name}: ${message === '' ? 'being made' : message}`} />
        {message !== '' && (
          <span class="small muted ellipsis" title={message}>
            {message}
          </span>
        )}
      </div>
    );
  }
  return (
    <div class="two">
      {status === 'ready' ? <Status of="ok" word="Ready" /> : <Status of="error" word="Failed" />}
      {status_reason !== null && <span class="small muted">{reasonInWords(status_reason)}</span>}
      {status === 'ready' && downtime_ms !== null && downtime_ms > 0 && (
        <span class="small muted">suspended {milliseconds(downtime_ms)}</span>
      )}
    </div>
  );
}

/** The name of a snapshot, with its description and labels. */
export function SnapshotName({ of }: { readonly of: SnapshotView }): JSX.Element {
  const labels = Object.entries(of.labels);
  return (
    <div class="two">
      <strong class="wrap-anywhere">{of.name}</strong>
      {of.description !== null && <span class="small muted wrap-anywhere">{of.description}</span>}
      {labels.length > 0 && (
        <span class="chips">
          {labels.map(([key, value]) => (
            <span key={key} class="chip">
              {value === '' ? key : `${key}: ${value}`}
            </span>
          ))}
        </span>
      )}
    </div>
  );
}

/** A snapshot's size: of one that is being made, as measured before. */
export function SnapshotSize({ of }: { readonly of: SnapshotView }): JSX.Element {
  return (
    <td class="end muted nowrap" data-name="size">
      {of.status === 'failed' ? '—' : bytes(of.bytes)}
    </td>
  );
}

interface SnapshotTableProps {
  readonly snapshots: readonly SnapshotView[];
  /** All are of one container, which is not named then. */
  readonly isOfOne?: boolean;
  /** Reads the list again. */
  readonly onChange: () => void;
  readonly empty: ComponentChildren;
}

/** The user's snapshots, with what can be done with them. */
export function SnapshotTable({ snapshots, isOfOne = false, onChange, empty }: SnapshotTableProps): JSX.Element {
  return (
    <Listing
      items={snapshots}
      caption="Snapshots, the newest first"
      columns={['Name', 'Status', ...(isOfOne ? [] : ['Container']), 'Contents', { end: 'Size' }, 'Taken']}
      hasActions
      empty={empty}
    >
      {(snapshot) => (
        <tr key={snapshot.id} data-id={snapshot.id}>
          <td>
            <SnapshotName of={snapshot} />
          </td>
          <td>
            <SnapshotStatus of={snapshot} />
          </td>
          {!isOfOne && (
            <td class="muted" data-name="of">
              <ContainerName id={snapshot.container_id} />
            </td>
          )}
          <td class="muted">
            <Contents of={snapshot} />
          </td>
          <SnapshotSize of={snapshot} />
          <td class="muted nowrap" data-name="taken">
            <Ago time={snapshot.created_at} />
          </td>
          <td class="actions-cell">
            <Actions snapshot={snapshot} isOfOne={isOfOne} onChange={onChange} />
          </td>
        </tr>
      )}
    </Listing>
  );
}

/** The container that a snapshot was made of, which may be deleted. */
function ContainerName({ id }: { readonly id: string }): JSX.Element {
  const container = containerById(id);
  return container ? (
    <Link class="name" href={`/containers/${id}#snapshots`}>
      {container.name}
    </Link>
  ) : (
    <span>a deleted container</span>
  );
}

interface ActionsProps {
  readonly snapshot: SnapshotView;
  readonly isOfOne: boolean;
  readonly onChange: () => void;
}

function Actions({ snapshot, isOfOne, onChange }: ActionsProps): JSX.Element {
  const { id, name, status, container_id } = snapshot;
  const container = containerById(container_id);
  const isReady = status === 'ready';
  const create = { name: 'New container', run: () => navigate(`/new?snapshot=${id}`) };
  const restore = container && {
    name: isOfOne ? 'Restore' : `Restore “${container.name}”`,
    run: () => restoreSnapshot(container, snapshot),
  };
  const remove = (): void =>
    ask({
      title: `Delete snapshot “${name}”?`,
      text: 'It cannot be brought back. Containers that were created from it stay as they are.',
      action: 'Delete',
      run: async () => void (await berth.snapshots.delete(id)),
    });
  const [first, second] = isOfOne && restore ? [restore, create] : [create, restore];
  return (
    <div class="actions">
      {isReady && (
        <button type="button" class="button slim" aria-label={`${first.name}: ${name}`} onClick={first.run}>
          {first.name}
        </button>
      )}
      <Menu
        label={`More for snapshot ${name}`}
        items={[
          ...(isReady && second ? [second] : []),
          ...(isReady && isAdmin.value
            ? [{ name: 'Make a template', run: () => navigate(`/admin/templates?snapshot=${id}`) }]
            : []),
          { name: 'Edit', run: () => editSnapshot(snapshot, onChange) },
          { name: 'Delete', isDangerous: true, run: remove },
        ]}
      />
    </div>
  );
}

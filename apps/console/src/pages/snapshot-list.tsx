import type { SnapshotListView, SnapshotView } from '@berth/client';
import type { ComponentChildren, JSX } from 'preact';
import { berth } from '../data/berth';
import { bytes, milliseconds } from '../words/format';
import { connection, containerById, events } from '../data/live';
import { isAdmin } from '../data/server';
import { commonWords } from '../words/common';
import { contentsInWords, reasonInWords } from '../words/errors';
import { snapshotsWords } from '../words/snapshots';
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
  true: snapshotsWords.contents.withRoot,
  false: snapshotsWords.contents.dataOnly,
} as const;

/** What a snapshot contains; nothing is known before it is ready. */
export function Contents({ of }: { readonly of: SnapshotView }): JSX.Element | null {
  return of.status === 'ready' ? <span title={CONTENTS_HINTS[`${of.root}`]}>{contentsInWords(of)}</span> : null;
}

/** The status of a snapshot, and the progress of one that is being made. */
export function SnapshotStatus({ of }: { readonly of: SnapshotView }): JSX.Element {
  const { id, name, status, status_reason, downtime_ms } = of;
  const words = snapshotsWords.status;
  if (status === 'making') {
    const last = events.value.find(({ data }) => 'id' in data && data.id === id);
    const { percent, message } = last?.type === 'snapshot_progress' ? last.data : { percent: 0, message: '' };
    return (
      <div class="progress">
        <Status of="creating" word={words.making} />
        <Meter
          value={percent}
          max={100}
          label={words.progress({ name, step: message === '' ? words.firstStep : message })}
        />
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
      {status === 'ready' ? <Status of="ok" word={words.ready} /> : <Status of="error" word={words.failed} />}
      {status_reason !== null && <span class="small muted">{reasonInWords(status_reason)}</span>}
      {status === 'ready' && downtime_ms !== null && downtime_ms > 0 && (
        <span class="small muted">{words.suspended(milliseconds(downtime_ms))}</span>
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
    <td class="end muted nowrap" data-name={snapshotsWords.cells.size}>
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
  const { columns, cells } = snapshotsWords;
  return (
    <Listing
      items={snapshots}
      caption={snapshotsWords.caption}
      columns={[
        columns.name,
        columns.status,
        ...(isOfOne ? [] : [columns.container]),
        columns.contents,
        { end: columns.size },
        columns.taken,
      ]}
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
            <td class="muted" data-name={cells.container}>
              <ContainerName id={snapshot.container_id} />
            </td>
          )}
          <td class="muted">
            <Contents of={snapshot} />
          </td>
          <SnapshotSize of={snapshot} />
          <td class="muted nowrap" data-name={cells.taken}>
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
    <span>{snapshotsWords.deletedContainer}</span>
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
  const words = snapshotsWords.actions;
  const create = { name: words.newContainer, run: () => navigate(`/new?snapshot=${id}`) };
  const restore = container && {
    name: isOfOne ? words.restore : words.restoreOf(container.name),
    run: () => restoreSnapshot(container, snapshot),
  };
  const remove = (): void =>
    ask({
      title: snapshotsWords.remove.question(name),
      text: snapshotsWords.remove.hint,
      action: commonWords.delete,
      run: async () => void (await berth.snapshots.delete(id)),
    });
  const [first, second] = isOfOne && restore ? [restore, create] : [create, restore];
  return (
    <div class="actions">
      {isReady && (
        <button
          type="button"
          class="button slim"
          aria-label={words.of({ action: first.name, name })}
          onClick={first.run}
        >
          {first.name}
        </button>
      )}
      <Menu
        label={words.more(name)}
        items={[
          ...(isReady && second ? [second] : []),
          ...(isReady && isAdmin.value
            ? [{ name: words.makeTemplate, run: () => navigate(`/admin/templates?snapshot=${id}`) }]
            : []),
          { name: words.edit, run: () => editSnapshot(snapshot, onChange) },
          { name: commonWords.delete, isDangerous: true, run: remove },
        ]}
      />
    </div>
  );
}

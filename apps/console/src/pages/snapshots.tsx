import type { SnapshotView } from '@berth/client';
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { bytes } from '../words/format';
import { containerById, me } from '../data/live';
import { contentsInWords } from '../words/errors';
import { snapshotsWords } from '../words/snapshots';
import { Link } from '../router';
import { Empty, Meter, PageHead, Shown } from '../ui/parts';
import { SnapshotTable, useSnapshots } from './snapshot-list';

/** What a filter finds a snapshot by: name, description, container, image, status, contents, labels. */
function textOf(snapshot: SnapshotView): string {
  const { name, description, id, container_id, image, status, labels } = snapshot;
  const pairs = Object.entries(labels).map(([key, value]) => `${key}:${value}`);
  const container = containerById(container_id)?.name ?? '';
  return [name, description ?? '', id, container, image, status, contentsInWords(snapshot), ...pairs]
    .join(' ')
    .toLowerCase();
}

/** The user's snapshots, of all containers. */
export function Snapshots(): JSX.Element {
  const loaded = useSnapshots();
  const [search, setSearch] = useState('');
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const usage = loaded.value?.usage;
  return (
    <>
      <PageHead
        title={snapshotsWords.title}
        aside={
          usage && (
            <span class="usage muted">
              {snapshotsWords.usage({
                count: usage.snapshots,
                limit: usage.limit,
                size: bytes(usage.bytes),
                sizeLimit: bytes(usage.limit_bytes),
              })}
              <Meter value={usage.bytes} max={usage.limit_bytes} label={snapshotsWords.usageHint} />
            </span>
          )
        }
      />
      <Shown of={loaded}>
        {({ snapshots }) => (
          <>
            {snapshots.length > 0 && (
              <div class="toolbar" role="search">
                <input
                  class="input search"
                  type="search"
                  aria-label={snapshotsWords.filter}
                  placeholder={snapshotsWords.filterExample}
                  value={search}
                  onInput={(event) => setSearch(event.currentTarget.value)}
                />
              </div>
            )}
            <SnapshotTable
              snapshots={snapshots.filter((each) => words.every((word) => textOf(each).includes(word)))}
              onChange={() => void loaded.reload()}
              empty={snapshots.length === 0 ? <NoSnapshots /> : <NothingFound onClear={() => setSearch('')} />}
            />
          </>
        )}
      </Shown>
    </>
  );
}

function NoSnapshots(): JSX.Element {
  const { none } = snapshotsWords;
  const tier = me.value?.tier ?? '';
  return me.value?.limits.snapshots === 0 ? (
    <Empty title={none.title}>
      <p>{none.tierAllowsNone(tier)}</p>
    </Empty>
  ) : (
    <Empty title={none.titleYet}>
      <p>{none.hint}</p>
      <Link class="button" href="/">
        {none.toContainers}
      </Link>
    </Empty>
  );
}

function NothingFound({ onClear }: { readonly onClear: () => void }): JSX.Element {
  return (
    <Empty title={snapshotsWords.nothingFound.title}>
      <button type="button" class="button" onClick={onClear}>
        {snapshotsWords.nothingFound.clear}
      </button>
    </Empty>
  );
}

import type { SnapshotView } from '@berth/client';
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { bytes } from '../data/format';
import { containerById, me } from '../data/live';
import { contentsInWords } from '../words/errors';
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
        title="Snapshots"
        aside={
          usage && (
            <span class="usage muted">
              {usage.snapshots} of {usage.limit}, {bytes(usage.bytes)} of {bytes(usage.limit_bytes)}
              <Meter value={usage.bytes} max={usage.limit_bytes} label="Size of your snapshots" />
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
                  aria-label="Filter by name, container, image or label"
                  placeholder="Filter: name, container, image, label"
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
  const tier = me.value?.tier ?? '';
  return me.value?.limits.snapshots === 0 ? (
    <Empty title="No snapshots">
      <p>Your tier “{tier}” allows none.</p>
    </Empty>
  ) : (
    <Empty title="No snapshots yet">
      <p>
        A snapshot keeps the files of a container, to return to them or to create more containers from them. Take one on
        the container’s page.
      </p>
      <Link class="button" href="/">
        To your containers
      </Link>
    </Empty>
  );
}

function NothingFound({ onClear }: { readonly onClear: () => void }): JSX.Element {
  return (
    <Empty title="No snapshot matches the filter">
      <button type="button" class="button" onClick={onClear}>
        Clear the filter
      </button>
    </Empty>
  );
}

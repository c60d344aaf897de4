import type { JSX } from 'preact';
import { type Container, me } from '../data/live';
import { PlusIcon } from '../ui/icons';
import { Empty, Shown } from '../ui/parts';
import { snapshotsWords } from '../words/snapshots';
import { takeSnapshot } from './snapshot-dialogs';
import { SnapshotTable, useSnapshots } from './snapshot-list';

/** The snapshots of one container. */
export function ContainerSnapshots({ container }: { readonly container: Container }): JSX.Element {
  const words = snapshotsWords.own;
  const loaded = useSnapshots(container.db_id);
  const isAllowed = me.value?.limits.snapshots !== 0;
  return (
    <Shown of={loaded}>
      {({ snapshots }) => (
        <>
          {isAllowed && snapshots.length > 0 && (
            <div class="toolbar">
              <TakeButton container={container} />
            </div>
          )}
          <SnapshotTable
            snapshots={snapshots}
            isOfOne
            onChange={() => void loaded.reload()}
            empty={
              <Empty title={words.none}>
                <p>{isAllowed ? words.noneHint : words.tierAllowsNone}</p>
                {isAllowed && <TakeButton container={container} />}
              </Empty>
            }
          />
        </>
      )}
    </Shown>
  );
}

function TakeButton({ container }: { readonly container: Container }): JSX.Element {
  return (
    <button
      type="button"
      class="button"
      disabled={container.status === 'creating'}
      onClick={() => takeSnapshot(container)}
    >
      <PlusIcon /> {snapshotsWords.own.take}
    </button>
  );
}

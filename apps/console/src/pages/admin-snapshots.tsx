import type { AnySnapshotView } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { shortImage } from '../data/format';
import { nameOf, readUserNames } from '../data/server';
import { address, navigate } from '../router';
import { ask } from '../ui/dialog';
import { Paged } from '../ui/paged';
import { Ago, Empty, PageHead, RemoveCell, Table } from '../ui/parts';
import { Contents, SnapshotName, SnapshotSize, SnapshotStatus } from './snapshot-list';

/** All users' snapshots, for administrators, who can delete them. */
export function AdminSnapshots(): JSX.Element {
  const user = address.value.query.get('user') ?? '';
  const [round, setRound] = useState(0);
  const onChange = (): void => setRound((before) => before + 1);
  useEffect(() => void readUserNames(), [round]);
  return (
    <>
      <PageHead title="All snapshots">
        <button type="button" class="button" onClick={onChange}>
          Reload
        </button>
      </PageHead>
      {user !== '' && (
        <div class="toolbar">
          <button type="button" class="button slim" onClick={() => navigate('/admin/snapshots')}>
            Only of one user: show all
          </button>
        </div>
      )}
      <Paged
        list={() => berth.admin.snapshots({ limit: 50, ...(user !== '' && { user_id: user }) })}
        of={`${user} ${String(round)}`}
        empty={<Empty title="No snapshots" />}
      >
        {(snapshots) => (
          <Table
            caption="Snapshots, the newest first"
            columns={['Name', 'Status', 'User', 'Image', 'Contents', { end: 'Size' }, 'Taken']}
            hasActions
          >
            {snapshots.map((snapshot) => (
              <Row key={snapshot.id} snapshot={snapshot} onChange={onChange} />
            ))}
          </Table>
        )}
      </Paged>
    </>
  );
}

function Row({ snapshot, onChange }: { readonly snapshot: AnySnapshotView; readonly onChange: () => void }) {
  const { id, name, user_id, image, created_at } = snapshot;
  const remove = (): void =>
    ask({
      title: `Delete snapshot “${name}”?`,
      text: `It belongs to ${nameOf(user_id)}. This cannot be undone. Containers that were created from it stay.`,
      action: 'Delete',
      run: async () => {
        await berth.admin.deleteSnapshot(id);
        onChange();
      },
    });
  return (
    <tr data-id={id}>
      <td>
        <SnapshotName of={snapshot} />
      </td>
      <td>
        <SnapshotStatus of={snapshot} />
      </td>
      <td class="muted" data-name="user">
        {nameOf(user_id)}
      </td>
      <td class="muted wrap-anywhere">{shortImage(image)}</td>
      <td class="muted">
        <Contents of={snapshot} />
      </td>
      <SnapshotSize of={snapshot} />
      <td class="muted nowrap" data-name="taken">
        <Ago time={created_at} />
      </td>
      <RemoveCell name={name} onClick={remove} />
    </tr>
  );
}

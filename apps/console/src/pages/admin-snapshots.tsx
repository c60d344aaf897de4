import type { AnySnapshotView } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { berth } from '../data/berth';
import { shortImage } from '../words/format';
import { nameOf, readUserNames } from '../data/server';
import { address, navigate } from '../router';
import { ask } from '../ui/dialog';
import { Paged, useRounds } from '../ui/paged';
import { Ago, Empty, PageHead, RemoveCell, Table, WorkButton } from '../ui/parts';
import { adminSnapshotWords } from '../words/admin-snapshots';
import { commonWords } from '../words/common';
import { Contents, SnapshotName, SnapshotSize, SnapshotStatus } from './snapshot-list';

/** All users' snapshots, for administrators, who can delete them. */
export function AdminSnapshots(): JSX.Element {
  const user = address.value.query.get('user') ?? '';
  const rounds = useRounds();
  useEffect(() => void readUserNames(), [rounds.current]);
  return (
    <>
      <PageHead title={adminSnapshotWords.title}>
        <WorkButton run={rounds.next}>{commonWords.reload}</WorkButton>
      </PageHead>
      {user !== '' && (
        <div class="toolbar">
          <button type="button" class="button slim" onClick={() => navigate('/admin/snapshots')}>
            {adminSnapshotWords.onlyOneUser}
          </button>
        </div>
      )}
      <Paged
        list={() => berth.admin.snapshots({ limit: 50, ...(user !== '' && { user_id: user }) })}
        of={user}
        rounds={rounds}
        empty={<Empty title={adminSnapshotWords.empty} />}
      >
        {(snapshots) => (
          <Table
            caption={adminSnapshotWords.caption}
            columns={[
              commonWords.name,
              commonWords.status,
              commonWords.user,
              commonWords.image,
              adminSnapshotWords.columns.contents,
              { end: adminSnapshotWords.columns.size },
              adminSnapshotWords.columns.taken,
            ]}
            hasActions
          >
            {snapshots.map((snapshot) => (
              <Row key={snapshot.id} snapshot={snapshot} onChange={() => void rounds.next()} />
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
      title: adminSnapshotWords.deleteQuestion(name),
      text: adminSnapshotWords.deleteEffect(nameOf(user_id)),
      action: commonWords.delete,
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
      <td class="muted" data-name={adminSnapshotWords.cells.user}>
        {nameOf(user_id)}
      </td>
      <td class="muted wrap-anywhere">{shortImage(image)}</td>
      <td class="muted">
        <Contents of={snapshot} />
      </td>
      <SnapshotSize of={snapshot} />
      <td class="muted nowrap" data-name={adminSnapshotWords.cells.taken}>
        <Ago time={created_at} />
      </td>
      <RemoveCell name={name} onClick={remove} />
    </tr>
  );
}

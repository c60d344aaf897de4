import type { AnyContainerView, ListedStatus } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { shortImage } from '../data/format';
import { hasNodes, nameOf, readUserNames } from '../data/server';
import { reasonInWords } from '../data/words';
import { address, navigate } from '../router';
import { ask } from '../ui/dialog';
import { Menu } from '../ui/menu';
import { Paged } from '../ui/paged';
import { Ago, Empty, PageHead, Status, Table } from '../ui/parts';
import { ResourceAmounts } from '../ui/resources';
import { say, sayFault } from '../ui/toasts';

const FILTERS: readonly (readonly [ListedStatus | '', string])[] = [
  ['', 'All'],
  ['running', 'Running'],
  ['paused', 'Paused'],
  ['stopped', 'Stopped'],
  ['error', 'Error'],
  ['deleted', 'Deleted'],
];

/** Everybody's containers, for administrators, who do not see into them. */
export function AdminContainers(): JSX.Element {
  const user = address.value.query.get('user') ?? '';
  const [status, setStatus] = useState<ListedStatus | ''>('');
  const [round, setRound] = useState(0);
  const onChange = (): void => setRound((before) => before + 1);
  useEffect(() => void readUserNames(), [round]);
  return (
    <>
      <PageHead title="All containers">
        <button type="button" class="button" onClick={onChange}>
          Read again
        </button>
      </PageHead>
      <div class="toolbar">
        <div class="segments" role="group" aria-label="Filter by status">
          {FILTERS.map(([value, name]) => (
            <button key={value} type="button" aria-pressed={status === value} onClick={() => setStatus(value)}>
              {name}
            </button>
          ))}
        </div>
        {user !== '' && (
          <button type="button" class="button slim" onClick={() => navigate('/admin/containers')}>
            Of one user: show everybody’s
          </button>
        )}
      </div>
      <Paged
        list={() =>
          berth.admin.containers({
            limit: 50,
            ...(status !== '' && { status }),
            ...(user !== '' && { user_id: user }),
          })
        }
        of={`${status} ${user} ${String(round)}`}
        empty={<Empty title="There are none" />}
      >
        {(containers) => (
          <Table
            caption="Containers, the newest first"
            columns={['Name', 'Status', 'Image', 'Resources', 'Used']}
            hasActions
          >
            {containers.map((container) => (
              <Row key={container.db_id} container={container} onChange={onChange} />
            ))}
          </Table>
        )}
      </Paged>
    </>
  );
}

function Row({ container, onChange }: { readonly container: AnyContainerView; readonly onChange: () => void }) {
  const { db_id, name, status, status_reason, image, resources, user_id, last_used_at, node } = container;
  const reason = reasonInWords(status_reason);
  const stop = (): void =>
    ask({
      title: `Stop “${name}”?`,
      text: 'It is somebody else’s, perhaps. All that runs in it ends; its data stays.',
      action: 'Stop',
      run: async () => {
        await berth.admin.stopContainer(db_id);
        onChange();
      },
    });
  const remove = (): void =>
    ask({
      title: `Delete “${name}”?`,
      text: 'Its owner can restore it for a while.',
      action: 'Delete',
      run: async () => {
        await berth.admin.deleteContainer(db_id);
        onChange();
      },
    });
  const move = (): void =>
    ask({
      title: `Move “${name}” to another node?`,
      text:
        `It goes with its data from ${node ?? 'where it is'} to the node that has the most room. ` +
        'Where it runs, its programs are stopped while the data is copied, and it is started again there.',
      action: 'Move',
      run: () => {
        say(`“${name}” is being moved.`);
        // Answered when it is done, which takes as long as its data is large.
        berth.admin.moveContainer(db_id).then((moved) => {
          say(`“${name}” is on ${moved.node} now.`);
          onChange();
        }, sayFault);
        return Promise.resolve();
      },
    });
  return (
    <tr>
      <td>
        <div class="two">
          <strong>{name}</strong>
          <span class="small muted mono">
            user {nameOf(user_id)}
            {node !== undefined && ` on ${node}`}
          </span>
        </div>
      </td>
      <td>
        <div class="two">
          <Status of={status} />
          {reason !== null && status !== 'running' && <span class="small muted">{reason}</span>}
        </div>
      </td>
      <td class="muted">{shortImage(image)}</td>
      <td class="muted nowrap">
        <ResourceAmounts of={resources} />
      </td>
      <td class="muted nowrap">
        <Ago time={last_used_at} />
      </td>
      <td class="actions-cell">
        {status !== 'deleted' && (
          <div class="actions">
            <Menu
              label={`More for ${name}`}
              items={[
                ...(status === 'running' || status === 'paused' ? [{ name: 'Stop', run: stop }] : []),
                ...(hasNodes.value ? [{ name: 'Move to another node', run: move }] : []),
                { name: 'Delete', isDangerous: true, run: remove },
              ]}
            />
          </div>
        )}
      </td>
    </tr>
  );
}

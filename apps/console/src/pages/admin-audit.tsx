import type { AuditEntryView } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { at, bytes } from '../data/format';
import { nameOf, readUserNames } from '../data/server';
import { Paged } from '../ui/paged';
import { Empty, PageHead, Status, Table } from '../ui/parts';

/** What was done, by whom, for administrators. */
export function Audit(): JSX.Element {
  const [action, setAction] = useState('');
  const [round, setRound] = useState(0);
  const asked = action.trim();
  useEffect(() => void readUserNames(), [round]);
  return (
    <>
      <PageHead title="Audit" aside={<span class="muted">What was done, the newest first</span>}>
        <button type="button" class="button" onClick={() => setRound((before) => before + 1)}>
          Read again
        </button>
      </PageHead>
      <div class="toolbar" role="search">
        <input
          class="input search"
          type="search"
          aria-label="Action"
          placeholder="Action, such as container.delete"
          value={action}
          onInput={(event) => setAction(event.currentTarget.value)}
        />
      </div>
      <Paged
        list={() => berth.admin.audit({ limit: 50, ...(asked !== '' && { action: asked }) })}
        of={`${asked} ${String(round)}`}
        empty={<Empty title="Nothing of the kind was done" />}
      >
        {(entries) => (
          <Table
            caption="Entries of the audit, the newest first"
            columns={['Action', 'Outcome', 'When', 'By', 'With', 'From']}
          >
            {entries.map((entry) => (
              <Row key={entry.id} entry={entry} />
            ))}
          </Table>
        )}
      </Paged>
    </>
  );
}

function Row({ entry }: { readonly entry: AuditEntryView }): JSX.Element {
  const { action, outcome, user_id, container_id, target_id, address, detail } = entry;
  const look = outcome === 'ok' ? 'ok' : outcome === 'pending' ? 'creating' : 'error';
  const target = container_id ?? target_id;
  return (
    <tr>
      <td>
        <div class="two">
          <span>{action}</span>
          {detail && (
            <span class="small muted">
              {detail.program}
              {detail.bytes !== null && ` ${bytes(detail.bytes)}`}
            </span>
          )}
        </div>
      </td>
      <td>
        <Status of={look} word={outcome === 'ok' ? 'Done' : outcome.replaceAll('_', ' ')} />
      </td>
      <td class="muted nowrap">{at(entry.at)}</td>
      <td class="muted mono">{user_id === null ? 'the server' : nameOf(user_id)}</td>
      <td class="muted mono" title={target ?? undefined}>
        {target?.replace('agent:', '').slice(0, 8) ?? '–'}
      </td>
      <td class="muted mono">{address ?? '–'}</td>
    </tr>
  );
}

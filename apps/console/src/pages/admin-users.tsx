import type { AdminUserView, ListedStatus, TierView } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { count, counted, duration } from '../data/format';
import { me } from '../data/live';
import { address, navigate, replaceQuery } from '../router';
import { ask } from '../ui/dialog';
import { PlusIcon } from '../ui/icons';
import { Menu } from '../ui/menu';
import { Paged } from '../ui/paged';
import { Ago, Empty, PageHead, Status, Table } from '../ui/parts';
import { SearchBox } from '../ui/search-box';
import { say, sayFault } from '../ui/toasts';
import { type CreatedUser, CreatedUserDialog, NewUserDialog } from './new-user-dialog';

/** All users, for administrators. */
export function AdminUsers(): JSX.Element {
  const { query } = address.value;
  const search = query.get('search') ?? '';
  const tier = query.get('tier') ?? '';
  // From the command palette, also while the page is open.
  const isNew = query.get('new') !== null;
  const [round, setRound] = useState(0);
  const [tiers, setTiers] = useState<readonly TierView[]>([]);
  const [created, setCreated] = useState<CreatedUser | null>(null);
  useEffect(() => {
    berth.account.tiers().then(setTiers, sayFault);
  }, []);
  const onChange = (): void => setRound((before) => before + 1);
  const names = tiers.map(({ name }) => name);
  return (
    <>
      <PageHead title="Users" aside={<span class="muted">All users of this server, the newest first</span>}>
        <button type="button" class="button primary" onClick={() => replaceQuery({ new: 'true' })}>
          <PlusIcon /> New user
        </button>
      </PageHead>
      <div class="toolbar" role="search">
        <SearchBox label="Search by name" value={search} onValue={(text) => replaceQuery({ search: text })} />
        <select
          class="input tier-filter"
          aria-label="Tier"
          value={tier}
          onChange={(event) => replaceQuery({ tier: event.currentTarget.value })}
        >
          <option value="">All tiers</option>
          {names.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </div>
      <Paged
        list={() => berth.admin.users({ limit: 50, ...(search !== '' && { search }), ...(tier !== '' && { tier }) })}
        of={JSON.stringify([search, tier, round])}
        empty={<Empty title="No user matches" />}
      >
        {(users) => (
          <Table caption="Users" columns={['Name', 'Tier', 'Status', 'Created']} hasActions>
            {users.map((user) => (
              <Row key={user.id} user={user} tiers={tiers} onChange={onChange} />
            ))}
          </Table>
        )}
      </Paged>
      {isNew && names.length > 0 && (
        <NewUserDialog
          tiers={names}
          onClose={() => replaceQuery({ new: '' })}
          onCreated={(user) => {
            setCreated(user);
            onChange();
          }}
        />
      )}
      {created && !isNew && <CreatedUserDialog of={created} onClose={() => setCreated(null)} />}
    </>
  );
}

/** How many live containers a user has, in these statuses. */
async function countOf(userId: string, ...statuses: readonly ListedStatus[]): Promise<number> {
  const lists = statuses.length === 0 ? [{}] : statuses.map((status) => ({ status }));
  let found = 0;
  for (const filter of lists) {
    for await (const { items } of berth.admin.containers({ user_id: userId, limit: 200, ...filter }).pages()) {
      found += items.length;
    }
  }
  return found;
}

/** What a change to this tier does to a user with so many containers. */
function effectOf(next: TierView | undefined, { all, running }: { all: number; running: number }): string {
  if (!next) return 'Its limits apply at once. Containers keep their sizes.';
  const parts = ['Its limits apply at once. Containers keep their sizes.'];
  if (all > next.containers) {
    parts.push(
      `The user has ${counted(all, 'container')}, and “${next.name}” allows ${count(next.containers)}: ` +
        'they stay, but no more can be created until there are fewer.',
    );
  }
  const { session_seconds: seconds } = next;
  if (seconds !== null && next.session_once) {
    parts.push(`The user becomes a guest: their session ends in ${duration(seconds)}, and their containers with it.`);
  } else if (seconds !== null && running > 0) {
    parts.push(`${counted(running, 'running container')} will be stopped ${duration(seconds)} after the last start.`);
  }
  return parts.join(' ');
}

interface RowProps {
  readonly user: AdminUserView;
  readonly tiers: readonly TierView[];
  readonly onChange: () => void;
}

function Row({ user, tiers, onChange }: RowProps): JSX.Element {
  const { id, username, tier, suspended_at, session_expires_at, created_at } = user;
  const names = tiers.map(({ name }) => name);
  const isSuspended = suspended_at !== null;
  const isOwn = id === me.value?.user.id;
  const change = async (changes: { readonly tier?: string; readonly suspended?: boolean }): Promise<void> => {
    await berth.admin.updateUser(id, changes);
    onChange();
  };

  const askToMove = async (next: string): Promise<void> => {
    const [all, running] = await Promise.all([countOf(id), countOf(id, 'running', 'paused')]);
    ask({
      title: `Change the tier of “${username}”?`,
      text: `From “${tier}” to “${next}”. ${effectOf(
        tiers.find(({ name }) => name === next),
        { all, running },
      )}`,
      action: 'Change tier',
      isDangerous: false,
      run: async () => {
        await change({ tier: next });
        const undo = (): void =>
          void change({ tier }).then(() => say(`“${username}” has the tier “${tier}” again.`), sayFault);
        say(`“${username}” has the tier “${next}” now.`, { name: 'Undo', run: undo });
      },
    });
  };

  const lift = async (): Promise<void> => {
    await change({ suspended: false });
    say(`“${username}” can sign in again. Containers that were stopped stay stopped.`);
  };
  const askToSuspend = async (): Promise<void> => {
    const running = await countOf(id, 'running', 'paused');
    const stopped =
      running === 0
        ? 'No container of theirs is running.'
        : `${counted(running, 'running container')} will be stopped; the data is kept.`;
    ask({
      title: `Suspend “${username}”?`,
      text: `${stopped} All tokens are refused, and connections closed, until the suspension is lifted.`,
      action: 'Suspend',
      run: async () => {
        await change({ suspended: true });
        say(`“${username}” is suspended.`, { name: 'Undo', run: () => void lift().catch(sayFault) });
      },
    });
  };

  const revoke = (): void =>
    ask({
      title: `Revoke all tokens of “${username}”?`,
      text: 'The user is signed out everywhere, and their programs and agents are refused.',
      action: 'Revoke',
      run: async () => {
        const { count: revoked } = await berth.admin.revokeTokensOf(id);
        say(`${counted(revoked, 'token')} of “${username}” revoked.`);
      },
    });
  const askToRemove = async (): Promise<void> => {
    const all = await countOf(id);
    ask({
      title: `Delete “${username}”?`,
      text:
        `${all === 0 ? 'Their' : `Their ${counted(all, 'container')},`} agents and tokens are deleted with all data. ` +
        'This cannot be undone.',
      action: 'Delete',
      run: async () => {
        await berth.admin.deleteUser(id);
        say(`“${username}” was deleted.`);
        onChange();
      },
    });
  };

  return (
    <tr data-id={id}>
      <td>
        <strong class="wrap-anywhere">{username}</strong> {isOwn && <span class="chip">you</span>}
      </td>
      <td>
        <select
          class="input slim-select"
          aria-label={`Tier of ${username}`}
          value={tier}
          onChange={(event) => {
            const next = event.currentTarget.value;
            // It shows the tier that the user has until that has changed.
            event.currentTarget.value = tier;
            askToMove(next).catch(sayFault);
          }}
        >
          {(names.includes(tier) ? names : [tier, ...names]).map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </td>
      <td>
        {isSuspended ? (
          <Status of="error" word="Suspended" />
        ) : session_expires_at !== null ? (
          <span class="muted">
            Guest, session ends <Ago time={session_expires_at} />
          </span>
        ) : (
          <Status of="ok" word="Active" />
        )}
      </td>
      <td class="muted nowrap" data-name="created">
        <Ago time={created_at} />
      </td>
      <td class="actions-cell">
        <div class="actions">
          <Menu
            label={`More for ${username}`}
            items={[
              { name: 'Containers', run: () => navigate(`/admin/containers?user=${id}`) },
              { name: 'Snapshots', run: () => navigate(`/admin/snapshots?user=${id}`) },
              { name: 'Audit', run: () => navigate(`/admin/audit?user=${encodeURIComponent(username)}`) },
              { name: 'Revoke all tokens', run: revoke },
              ...(isOwn
                ? []
                : [
                    isSuspended
                      ? { name: 'Lift the suspension', run: () => void lift().catch(sayFault) }
                      : { name: 'Suspend', isDangerous: true, run: () => void askToSuspend().catch(sayFault) },
                    { name: 'Delete', isDangerous: true, run: () => void askToRemove().catch(sayFault) },
                  ]),
            ]}
          />
        </div>
      </td>
    </tr>
  );
}

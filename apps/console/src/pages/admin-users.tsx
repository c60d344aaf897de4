import type { AdminUserView } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { me } from '../data/live';
import { navigate } from '../router';
import { ask } from '../ui/dialog';
import { Menu } from '../ui/menu';
import { Paged } from '../ui/paged';
import { Ago, Empty, PageHead, Status, Table } from '../ui/parts';
import { say, sayFault } from '../ui/toasts';

/** Everybody, for administrators. */
export function AdminUsers(): JSX.Element {
  const [username, setUsername] = useState('');
  const [tier, setTier] = useState('');
  const [round, setRound] = useState(0);
  const [tiers, setTiers] = useState<readonly string[]>([]);
  useEffect(() => {
    berth.account.tiers().then((found) => setTiers(found.map(({ name }) => name)), sayFault);
  }, []);
  const onChange = (): void => setRound((before) => before + 1);
  const query = {
    ...(username.trim() !== '' && { username: username.trim() }),
    ...(tier !== '' && { tier }),
  };
  return (
    <>
      <PageHead title="Users" />
      <div class="toolbar" role="search">
        <input
          class="input search"
          type="search"
          aria-label="Exact name"
          placeholder="Exact name"
          value={username}
          onInput={(event) => setUsername(event.currentTarget.value)}
        />
        <select
          class="input tier-filter"
          aria-label="Tier"
          value={tier}
          onChange={(event) => setTier(event.currentTarget.value)}
        >
          <option value="">All tiers</option>
          {tiers.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </div>
      <Paged
        list={() => berth.admin.users({ ...query, limit: 50 })}
        of={`${username} ${tier} ${String(round)}`}
        empty={<Empty title="Nobody fits the filter" />}
      >
        {(users) => (
          <Table caption="Users" columns={['Name', 'Tier', 'Status', 'Since']} hasActions>
            {users.map((user) => (
              <Row key={user.id} user={user} tiers={tiers} onChange={onChange} />
            ))}
          </Table>
        )}
      </Paged>
    </>
  );
}

interface RowProps {
  readonly user: AdminUserView;
  readonly tiers: readonly string[];
  readonly onChange: () => void;
}

function Row({ user, tiers, onChange }: RowProps): JSX.Element {
  const { id, username, tier, suspended_at, session_expires_at, created_at } = user;
  const isSuspended = suspended_at !== null;
  const change = async (changes: { suspended: boolean }): Promise<void> => {
    try {
      await berth.admin.updateUser(id, changes);
    } catch (error) {
      sayFault(error);
    }
    onChange();
  };
  const moveTo = async (next: string): Promise<void> => {
    await berth.admin.updateUser(id, { tier: next });
    onChange();
  };
  const askToMove = (next: string): void =>
    ask({
      title: `Change the tier of “${username}”?`,
      text:
        `From “${tier}” to “${next}”. Its limits count at once, for how long containers run and may be unused too; ` +
        'those that there are keep their sizes.',
      action: 'Change',
      isDangerous: false,
      run: async () => {
        await moveTo(next);
        const undo = (): void => void moveTo(tier).catch(sayFault);
        say(`“${username}” is on the tier “${next}” now.`, { name: 'Undo', run: undo });
      },
    });
  const revoke = (): void =>
    ask({
      title: `Revoke all tokens of “${username}”?`,
      text: 'They are signed out everywhere, and their programs and agents are refused.',
      action: 'Revoke',
      run: async () => {
        await berth.admin.revokeTokensOf(id);
        say(`The tokens of “${username}” were revoked.`);
      },
    });
  const suspend = (): void =>
    ask({
      title: `Suspend “${username}”?`,
      text: 'Their containers are stopped, and they are refused until they are let in again.',
      action: 'Suspend',
      run: () => change({ suspended: true }),
    });
  const remove = (): void =>
    ask({
      title: `Delete “${username}”?`,
      text: 'Their containers, agents and tokens are deleted with them. This cannot be taken back.',
      action: 'Delete',
      run: async () => {
        await berth.admin.deleteUser(id);
        onChange();
      },
    });
  return (
    <tr>
      <td>
        <strong>{username}</strong>
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
            askToMove(next);
          }}
        >
          {(tiers.includes(tier) ? tiers : [tier, ...tiers]).map((name) => (
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
            guest, <Ago time={session_expires_at} />
          </span>
        ) : (
          <Status of="ok" word="Active" />
        )}
      </td>
      <td class="muted nowrap">
        <Ago time={created_at} />
      </td>
      <td class="actions-cell">
        <div class="actions">
          <Menu
            label={`More for ${username}`}
            items={[
              { name: 'Containers', run: () => navigate(`/admin/containers?user=${id}`) },
              { name: 'Snapshots', run: () => navigate(`/admin/snapshots?user=${id}`) },
              { name: 'Revoke all tokens', run: revoke },
              ...(id === me.value?.user.id
                ? []
                : [
                    isSuspended
                      ? { name: 'Let in again', run: () => void change({ suspended: false }) }
                      : { name: 'Suspend', isDangerous: true, run: suspend },
                    { name: 'Delete', isDangerous: true, run: remove },
                  ]),
            ]}
          />
        </div>
      </td>
    </tr>
  );
}

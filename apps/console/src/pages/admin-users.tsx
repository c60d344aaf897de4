import type { AdminUserView, ListedStatus, TierView } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { duration } from '../words/format';
import { me } from '../data/live';
import { address, navigate, replaceQuery } from '../router';
import { ask } from '../ui/dialog';
import { PlusIcon } from '../ui/icons';
import { Menu } from '../ui/menu';
import { Paged, useRounds } from '../ui/paged';
import { Ago, Empty, PageHead, Status, Table } from '../ui/parts';
import { SearchBox } from '../ui/search-box';
import { say, sayFault } from '../ui/toasts';
import { adminUserWords } from '../words/admin-users';
import { commonWords } from '../words/common';
import { type CreatedUser, CreatedUserDialog, NewUserDialog } from './new-user-dialog';

/** All users, for administrators. */
export function AdminUsers(): JSX.Element {
  const { query } = address.value;
  const search = query.get('search') ?? '';
  const tier = query.get('tier') ?? '';
  // From the command palette, also while the page is open.
  const isNew = query.get('new') !== null;
  const rounds = useRounds();
  const [tiers, setTiers] = useState<readonly TierView[]>([]);
  const [created, setCreated] = useState<CreatedUser | null>(null);
  useEffect(() => {
    berth.account.tiers().then(setTiers, sayFault);
  }, []);
  const onChange = (): void => void rounds.next();
  const names = tiers.map(({ name }) => name);
  return (
    <>
      <PageHead title={adminUserWords.title} aside={<span class="muted">{adminUserWords.about}</span>}>
        <button type="button" class="button primary" onClick={() => replaceQuery({ new: 'true' })}>
          <PlusIcon /> {adminUserWords.create}
        </button>
      </PageHead>
      <div class="toolbar" role="search">
        <SearchBox label={adminUserWords.search} value={search} onValue={(text) => replaceQuery({ search: text })} />
        <select
          class="input tier-filter"
          aria-label={adminUserWords.tier}
          value={tier}
          onChange={(event) => replaceQuery({ tier: event.currentTarget.value })}
        >
          <option value="">{adminUserWords.allTiers}</option>
          {names.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </div>
      <Paged
        list={() => berth.admin.users({ limit: 50, ...(search !== '' && { search }), ...(tier !== '' && { tier }) })}
        of={JSON.stringify([search, tier])}
        rounds={rounds}
        empty={<Empty title={adminUserWords.empty} />}
      >
        {(users) => (
          <Table
            caption={adminUserWords.caption}
            columns={[commonWords.name, adminUserWords.tier, commonWords.status, commonWords.created]}
            hasActions
          >
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
  const words = adminUserWords.changeTier;
  if (!next) return words.limits;
  const parts: string[] = [words.limits];
  if (all > next.containers) {
    parts.push(words.tooMany({ has: all, tier: next.name, allowed: next.containers }));
  }
  const { session_seconds: seconds } = next;
  if (seconds !== null && next.session_once) {
    parts.push(words.guest(duration(seconds)));
  } else if (seconds !== null && running > 0) {
    parts.push(words.willStop({ running, session: duration(seconds) }));
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
    const words = adminUserWords.changeTier;
    const [all, running] = await Promise.all([countOf(id), countOf(id, 'running', 'paused')]);
    const effect = effectOf(
      tiers.find(({ name }) => name === next),
      { all, running },
    );
    ask({
      title: words.question(username),
      text: `${words.fromTo({ from: tier, to: next })} ${effect}`,
      action: words.action,
      isDangerous: false,
      run: async () => {
        await change({ tier: next });
        const undo = (): void =>
          void change({ tier }).then(() => say(words.undone({ name: username, tier })), sayFault);
        say(words.done({ name: username, tier: next }), { name: commonWords.undo, run: undo });
      },
    });
  };

  const lift = async (): Promise<void> => {
    await change({ suspended: false });
    say(adminUserWords.suspend.lifted(username));
  };
  const askToSuspend = async (): Promise<void> => {
    const running = await countOf(id, 'running', 'paused');
    const words = adminUserWords.suspend;
    ask({
      title: words.question(username),
      text: `${running === 0 ? words.noneRuns : words.willStop(running)} ${words.effect}`,
      action: words.action,
      run: async () => {
        await change({ suspended: true });
        say(words.done(username), { name: commonWords.undo, run: () => void lift().catch(sayFault) });
      },
    });
  };

  const revoke = (): void =>
    ask({
      title: adminUserWords.revoke.question(username),
      text: adminUserWords.revoke.effect,
      action: adminUserWords.revoke.action,
      run: async () => {
        const { count: tokens } = await berth.admin.revokeTokensOf(id);
        say(adminUserWords.revoke.done({ name: username, tokens }));
      },
    });
  const askToRemove = async (): Promise<void> => {
    const all = await countOf(id);
    ask({
      title: adminUserWords.delete.question(username),
      text: adminUserWords.delete.effect(all),
      action: commonWords.delete,
      run: async () => {
        await berth.admin.deleteUser(id);
        say(adminUserWords.delete.done(username));
        onChange();
      },
    });
  };

  return (
    <tr data-id={id}>
      <td>
        <strong class="wrap-anywhere">{username}</strong> {isOwn && <span class="chip">{adminUserWords.own}</span>}
      </td>
      <td>
        <select
          class="input slim-select"
          aria-label={adminUserWords.tierOf(username)}
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
          <Status of="error" word={adminUserWords.status.suspended} />
        ) : session_expires_at !== null ? (
          <span class="muted">{adminUserWords.status.guest(<Ago time={session_expires_at} />)}</span>
        ) : (
          <Status of="ok" word={adminUserWords.status.active} />
        )}
      </td>
      <td class="muted nowrap" data-name={adminUserWords.cells.created}>
        <Ago time={created_at} />
      </td>
      <td class="actions-cell">
        <div class="actions">
          <Menu
            label={adminUserWords.moreFor(username)}
            items={[
              { name: adminUserWords.containers, run: () => navigate(`/admin/containers?user=${id}`) },
              { name: adminUserWords.snapshots, run: () => navigate(`/admin/snapshots?user=${id}`) },
              { name: adminUserWords.audit, run: () => navigate(`/admin/audit?user=${encodeURIComponent(username)}`) },
              { name: adminUserWords.revoke.item, run: revoke },
              ...(isOwn
                ? []
                : [
                    isSuspended
                      ? { name: adminUserWords.suspend.lift, run: () => void lift().catch(sayFault) }
                      : {
                          name: adminUserWords.suspend.action,
                          isDangerous: true,
                          run: () => void askToSuspend().catch(sayFault),
                        },
                    { name: commonWords.delete, isDangerous: true, run: () => void askToRemove().catch(sayFault) },
                  ]),
            ]}
          />
        </div>
      </td>
    </tr>
  );
}

import type { ComponentChildren, JSX } from 'preact';
import { agents, connection, me, usage } from '../data/live';
import { at } from '../data/format';
import { Link, path } from '../router';
import { ThemeIcon, Mark } from './icons';
import { useCurrentShown } from './parts';
import { setTheme, theme, type Theme } from './theme';
import { hasNodes, isAdmin, isSimulated, notices } from '../data/server';

interface ShellProps {
  readonly onSignOut: () => Promise<void>;
  readonly children: ComponentChildren;
}

/** What is around every page: where one can go, who one is, whether what is seen is live. */
export function Shell({ onSignOut, children }: ShellProps): JSX.Element {
  const user = me.value;
  const pages = useCurrentShown(`${path.value} ${String(isAdmin.value)}`);
  return (
    <>
      <button type="button" class="button skip" onClick={() => document.getElementById('main')?.focus()}>
        Skip to the page
      </button>
      <div class="shell">
        <header class="sidebar">
          <Link class="brand" href="/">
            <Mark />
            <span>Berth</span>
          </Link>
          <nav class="navs" aria-label="Pages" ref={pages}>
            <div class="nav">
              <NavLink to="/" also="/containers/" count={usage.value?.containers}>
                Containers
              </NavLink>
              <NavLink to="/snapshots">Snapshots</NavLink>
              <NavLink to="/deleted">Deleted</NavLink>
              <NavLink to="/events">Events</NavLink>
              <NavLink to="/usage">Usage</NavLink>
              <NavLink to="/tokens">Tokens</NavLink>
              <NavLink to="/webhooks">Webhooks</NavLink>
              <NavLink to="/agents" count={agents.value.size === 0 ? undefined : agents.value.size}>
                Agents
              </NavLink>
            </div>
            {isAdmin.value && (
              <div class="nav">
                <h2>Administration</h2>
                <NavLink to="/admin/users">Users</NavLink>
                <NavLink to="/admin/containers">All containers</NavLink>
                <NavLink to="/admin/snapshots">All snapshots</NavLink>
                <NavLink to="/admin/images">Images</NavLink>
                <NavLink to="/admin/templates">Templates</NavLink>
                <NavLink to="/admin/machine">Machine</NavLink>
                {hasNodes.value && <NavLink to="/admin/nodes">Nodes</NavLink>}
                <NavLink to="/admin/webhooks">Webhooks for all</NavLink>
                <NavLink to="/admin/audit">Audit</NavLink>
              </div>
            )}
          </nav>
          <div class="account">
            <Connection />
            {user && (
              <div class="who two">
                <strong class="ellipsis">{user.user.username}</strong>
                <span class="small muted">tier {user.tier}</span>
              </div>
            )}
            <div class="row">
              <ThemeButton />
              <button type="button" class="button quiet slim" onClick={() => void onSignOut()}>
                Sign out
              </button>
            </div>
          </div>
        </header>
        <div>
          <Banners />
          <main class="main" id="main" tabIndex={-1}>
            {children}
          </main>
        </div>
      </div>
    </>
  );
}

interface NavLinkProps {
  readonly to: string;
  /** The beginning of other addresses that belong to it. */
  readonly also?: string;
  readonly count?: number | undefined;
  readonly children: string;
}

function NavLink({ to, also, count, children }: NavLinkProps): JSX.Element {
  const isHere = path.value === to || (also !== undefined && path.value.startsWith(also));
  return (
    <Link href={to} aria-current={isHere ? 'page' : undefined}>
      {children}
      {count !== undefined && <span class="count faint">{count}</span>}
    </Link>
  );
}

const CONNECTION = {
  connecting: ['creating', 'Connecting'],
  live: ['ok', 'Live'],
  reconnecting: ['warn', 'Reconnecting'],
  closed: ['bad', 'Disconnected'],
} as const;

function Connection(): JSX.Element {
  const [kind, words] = CONNECTION[connection.value];
  return (
    <span class="connection" role="status">
      <span class={`status ${kind}`}>{words}</span>
    </span>
  );
}

const NEXT: Readonly<Record<Theme, Theme>> = { system: 'light', light: 'dark', dark: 'system' };

function ThemeButton(): JSX.Element {
  const { value } = theme;
  return (
    <button
      type="button"
      class="button quiet slim"
      onClick={() => setTheme(NEXT[value])}
      aria-label={`Theme: ${value}. Change to ${NEXT[value]}.`}
      title={`Theme: ${value}`}
    >
      <ThemeIcon />
      <span class="who">{value.charAt(0).toUpperCase() + value.slice(1)}</span>
    </button>
  );
}

/** Said on every page, also before the sign-in: what is seen here is not real. */
export function SimulationBanner(): JSX.Element | null {
  if (!isSimulated.value) return null;
  return (
    <aside aria-label="Simulation">
      <p class="banner simulated">
        <strong>Simulated.</strong> This server has no Docker: its containers are made up, and no program really runs in
        them.
      </p>
    </aside>
  );
}

function Banners(): JSX.Element {
  const session = me.value?.session;
  const hasNotices = session != null || notices.value.length > 0;
  return (
    <>
      <SimulationBanner />
      {connection.value === 'reconnecting' && (
        <p class="banner" role="status">
          The connection to the server is broken. What you see may be old; it is tried again by itself.
        </p>
      )}
      {hasNotices && (
        <aside aria-label="Notices">
          {session && <p class="banner">You are a guest until {at(session.expires_at)}. What you make then goes.</p>}
          {notices.value.map((notice) => (
            <p key={notice} class="banner">
              {notice}
            </p>
          ))}
        </aside>
      )}
    </>
  );
}

import type { ComponentChildren, JSX } from 'preact';
import { agents, connection, me, usage } from '../data/live';
import { at, count } from '../words/format';
import { Link, path } from '../router';
import { isStaying, staySignedIn } from '../session';
import { partWords } from '../words/parts';
import { shellWords } from '../words/shell';
import { ThemeIcon, Mark } from './icons';
import { Keyboard, PaletteButton } from './keyboard';
import { ADMIN_PAGES, type ConsolePage, OWN_PAGES } from './pages';
import { useCurrentShown } from './parts';
import { setTheme, theme, type Theme } from './theme';
import { hasNodes, isAdmin, isSimulated, notices } from '../data/server';

interface ShellProps {
  readonly onSignOut: () => Promise<void>;
  readonly children: ComponentChildren;
}

/** The frame of every page: the menu, the search, the user, and whether the page is live. */
export function Shell({ onSignOut, children }: ShellProps): JSX.Element {
  const user = me.value;
  const pages = useCurrentShown(`${path.value} ${String(isAdmin.value)}`);
  return (
    <>
      <button type="button" class="button skip" onClick={() => document.getElementById('main')?.focus()}>
        {shellWords.skip}
      </button>
      <div class="shell">
        <header class="sidebar">
          <Link class="brand" href="/">
            <Mark />
            <span>{partWords.product}</span>
          </Link>
          <PaletteButton />
          <nav class="navs" aria-label={shellWords.navigation} ref={pages}>
            <div class="nav">
              {OWN_PAGES.map((page) => (
                <NavLink key={page.to} page={page} count={countOf(page)} />
              ))}
            </div>
            {isAdmin.value && (
              <div class="nav">
                <h2>{shellWords.administration}</h2>
                {ADMIN_PAGES.filter(({ isOfCluster }) => !isOfCluster || hasNodes.value).map((page) => (
                  <NavLink key={page.to} page={page} />
                ))}
              </div>
            )}
          </nav>
          <div class="account">
            <Connection />
            {user && (
              <div class="who two">
                <strong class="ellipsis">{user.user.username}</strong>
                <span class="small muted">{shellWords.tier(user.tier)}</span>
              </div>
            )}
            <label class="check small">
              <input
                type="checkbox"
                checked={isStaying.value}
                onChange={(event) => staySignedIn(event.currentTarget.checked)}
              />
              <span>{shellWords.stay}</span>
            </label>
            <div class="row">
              <ThemeButton />
              <button type="button" class="button quiet slim" onClick={() => void onSignOut()}>
                {shellWords.signOut}
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
      <Keyboard onSignOut={onSignOut} />
    </>
  );
}

/** What is counted beside a page's name. */
function countOf({ to }: ConsolePage): number | undefined {
  if (to === '/') return usage.value?.containers;
  return to === '/agents' && agents.value.size > 0 ? agents.value.size : undefined;
}

interface NavLinkProps {
  readonly page: ConsolePage;
  readonly count?: number | undefined;
}

function NavLink({ page: { to, name, also }, count: counted }: NavLinkProps): JSX.Element {
  const isHere = path.value === to || (also !== undefined && path.value.startsWith(also));
  return (
    <Link href={to} aria-current={isHere ? 'page' : undefined}>
      {name}
      {counted !== undefined && <span class="count faint">{count(counted)}</span>}
    </Link>
  );
}

/** What each state looks like. */
const CONNECTION = {
  connecting: 'creating',
  live: 'ok',
  reconnecting: 'warn',
  closed: 'bad',
} as const;

function Connection(): JSX.Element {
  const state = connection.value;
  return (
    <span class="connection" role="status">
      <span class={`status ${CONNECTION[state]}`}>{shellWords.connection[state]}</span>
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
      aria-label={shellWords.theme.change[value]}
      title={shellWords.theme.is[value]}
    >
      <ThemeIcon />
      <span class="who">{shellWords.theme.names[value]}</span>
    </button>
  );
}

/** Shown on every page, also before the sign-in: the containers are not real. */
export function SimulationBanner(): JSX.Element | null {
  if (!isSimulated.value) return null;
  return (
    <aside aria-label={shellWords.simulation.label}>
      <p class="banner simulated">
        <strong>{shellWords.simulation.title}</strong> {shellWords.simulation.text}
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
      {hasNotices && (
        <aside aria-label={shellWords.notices}>
          {session && <p class="banner">{shellWords.guest(at(session.expires_at))}</p>}
          {notices.value.map((notice) => (
            <p key={notice} class="banner">
              {notice}
            </p>
          ))}
        </aside>
      )}
      <LostConnection />
    </>
  );
}

/** Lies over the page's upper margin, and moves nothing when it comes and goes. */
function LostConnection(): JSX.Element {
  const words = shellWords.connection;
  return (
    <div class="lost-connection" role="status">
      {connection.value === 'reconnecting' && (
        <p class="banner">
          {words.lost} <span class="detail">{words.outOfDate}</span> {words.reconnectingNow}
        </p>
      )}
    </div>
  );
}

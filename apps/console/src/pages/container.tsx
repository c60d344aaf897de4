import type { ComponentChildren, JSX, RefObject } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { whyNotInside } from '../data/access';
import { berth } from '../data/berth';
import { type Container, containerById, events } from '../data/live';
import type { BerthEvent } from '@berth/client';
import { askToRestart, askToStop, isPending, isRestarting, remove } from '../ui/verbs';
import { commonWords } from '../words/common';
import { containerWords } from '../words/container';
import { inWords } from '../words/errors';
import { verbWords } from '../words/verbs';
import { address, Link, navigate } from '../router';
import { later } from '../ui/later';
import { Menu } from '../ui/menu';
import { Empty, type Loaded, PageHead, Shown, useCurrentShown, useLoaded, WorkButton } from '../ui/parts';
import { StatusCell } from './container-row';
import { EventList } from './event-list';
import { joined } from './events';
import { copyItems } from './snapshot-dialogs';

const SettingsDialog = later(async () => (await import('./settings-dialog')).SettingsDialog);
const Terminals = later(async () => (await import('./terminals')).Terminals);
const Processes = later(async () => (await import('./processes')).Processes);
const Logs = later(async () => (await import('./logs')).Logs);
const Ports = later(async () => (await import('./ports')).Ports);
const Files = later(async () => (await import('./files')).Files);
const ContainerSnapshots = later(async () => (await import('./container-snapshots')).ContainerSnapshots);
const Overview = later(async () => (await import('./overview')).Overview);

const TABS = ['overview', 'terminal', 'files', 'processes', 'logs', 'ports', 'snapshots', 'events'] as const;

type Tab = (typeof TABS)[number];

const isTab = (name: string | null): name is Tab => TABS.some((each) => each === name);

/** Where this browser keeps the tab that was used last. */
const LAST_TAB = 'berth.tab';

/** The tab that a container opens on without a fragment. */
function firstTab({ status }: Container): Tab {
  if (status !== 'running' || whyNotInside.value !== null) return 'overview';
  const last = localStorage.getItem(LAST_TAB);
  return isTab(last) ? last : 'terminal';
}

/**
 * The tab that is shown, which the address names: one without a fragment gets that of {@link firstTab}, and keeps it
 * when the container stops.
 */
function useTab(container: Container | undefined): Tab {
  const { path, fragment } = address.value;
  const [name = ''] = fragment.split('/');
  const chosen = isTab(name) ? name : undefined;
  const opened = useRef<Tab | undefined>(undefined);
  const tab = chosen ?? opened.current ?? (container ? firstTab(container) : 'overview');
  const isKnown = container !== undefined;
  useEffect(() => {
    if (!isKnown) return;
    if (chosen === undefined) {
      // A link may have been followed since the page was drawn.
      if (location.hash.slice(1) !== fragment) return;
      opened.current = tab;
      navigate(`${path}#${tab}`, { replace: true });
    } else if (chosen !== opened.current) {
      opened.current = undefined;
      localStorage.setItem(LAST_TAB, chosen);
    }
  }, [chosen, isKnown]);
  return tab;
}

/** One container: how it is, what it does, and the way into it. */
export function ContainerPage({ id }: { readonly id: string }): JSX.Element {
  const [unlisted, setUnlisted] = useState<Container>();
  const [fault, setFault] = useState<unknown>();
  const [isSetting, setSetting] = useState(false);
  const container = containerById(id) ?? unlisted;
  const tab = useTab(container);
  const past = useLoaded(readPast);

  // By another form of its id, or not listed yet.
  useEffect(() => {
    if (containerById(id)) return;
    berth.containers.get(id).then((found) => {
      if (containerById(found.db_id)) navigate(`/containers/${found.db_id}`, { replace: true });
      else setUnlisted({ ...found, progress: null });
    }, setFault);
  }, [id]);

  if (!container) {
    return (
      <>
        <PageHead title={containerWords.title} />
        {fault === undefined ? (
          <p class="muted" role="status">
            {containerWords.loading}
          </p>
        ) : (
          <div class="panel">
            <Empty title={inWords(fault)}>
              <Link class="button" href="/">
                {containerWords.own}
              </Link>
              <Link href="/deleted">{containerWords.deleted}</Link>
            </Empty>
          </div>
        )}
      </>
    );
  }

  const [, ...rest] = address.value.fragment.split('/');
  const own = ownEvents(container.db_id, past.value ?? []);
  return (
    <>
      <PageHead title={container.name} aside={<StatusCell container={container} />}>
        <div class="actions">
          <PowerButtons container={container} />
          <button type="button" class="button" onClick={() => setSetting(true)}>
            {containerWords.settings}
          </button>
          <Menu
            label={containerWords.more(container.name)}
            isBusy={isPending(container.db_id)}
            items={[
              ...copyItems(container),
              { name: commonWords.delete, isDangerous: true, run: () => void remove(container) },
            ]}
          />
        </div>
      </PageHead>
      <Tabs label={container.name} current={tab} />
      {tab === 'overview' && (
        <Overview
          container={container}
          events={own}
          whyNotInside={whyNotInside.value}
          onSettings={() => setSetting(true)}
        />
      )}
      {tab === 'terminal' && (
        <Inside container={container} staysOpen>
          <Terminals container={container} />
        </Inside>
      )}
      {tab === 'files' && (
        <Inside container={container}>
          <Files container={container} path={rest.map((each) => `/${decodeURIComponent(each)}`).join('')} />
        </Inside>
      )}
      {tab === 'processes' && (
        <Inside container={container}>
          <Processes container={container} open={rest[0]} />
        </Inside>
      )}
      {tab === 'logs' && (
        <Inside container={container}>
          <Logs container={container} open={rest[0]} />
        </Inside>
      )}
      {tab === 'ports' && (
        <Inside container={container}>
          <Ports container={container} />
        </Inside>
      )}
      {tab === 'snapshots' && <ContainerSnapshots container={container} />}
      {tab === 'events' && <ContainerEvents of={past} events={own} />}
      {isSetting && <SettingsDialog container={container} onClose={() => setSetting(false)} />}
    </>
  );
}

function Tabs({ label, current }: { readonly label: string; readonly current: string }): JSX.Element {
  return (
    <nav class="tabs" aria-label={label} ref={useCurrentShown(current)}>
      {TABS.map((name) => (
        <a key={name} href={`#${name}`} aria-current={current === name ? 'page' : undefined}>
          {containerWords.tabs[name]}
        </a>
      ))}
    </nav>
  );
}

interface InsideProps {
  readonly container: Container;
  /** The content stays when the container stops or is paused, and says so itself. */
  readonly staysOpen?: boolean;
  readonly children: ComponentChildren;
}

/** The inside of a container: shown while it runs, to those who may look inside. */
function Inside({ container, staysOpen = false, children }: InsideProps) {
  const why = whyNotInside.value;
  const wasOpen = useRef(false);
  const isOpen = why === null && (container.status === 'running' || (staysOpen && wasOpen.current));
  wasOpen.current = isOpen;
  if (isOpen) return <>{children}</>;
  // Of one that runs, `why` is shown alone.
  const state = container.status === 'running' ? 'stopped' : container.status;
  const isComingBack = isRestarting(container.db_id);
  const hint = containerWords.closedHint[isComingBack ? 'restarting' : state];
  return (
    <div class="panel">
      <Empty title={why ?? containerWords.closed[state](container.name)}>
        {why === null && <p>{container.progress?.message ?? hint}</p>}
        {why === null && !isComingBack && <PowerButtons container={container} />}
      </Empty>
    </div>
  );
}

/** Keeps the focus in a group of buttons where the focused one is replaced by others. */
function useFocusKept(): RefObject<HTMLDivElement | null> {
  const group = useRef<HTMLDivElement>(null);
  const hadFocus = group.current?.contains(document.activeElement) ?? false;
  useLayoutEffect(() => {
    if (hadFocus && document.activeElement === document.body) group.current?.querySelector('button')?.focus();
  });
  return group;
}

/** What changes its status. While it restarts, the button that says so stays in the place of “Restart”. */
function PowerButtons({ container }: { readonly container: Container }): JSX.Element | null {
  const { db_id, status } = container;
  const group = useFocusKept();
  const isBlocked = isPending(db_id);
  const { power } = containerWords;
  if (status === 'creating') return null;
  const verb = (name: string, askTo: (of: Container) => void): JSX.Element => (
    <button
      key={name}
      type="button"
      class="button"
      aria-disabled={isBlocked}
      onClick={() => !isBlocked && askTo(container)}
    >
      {name}
    </button>
  );
  const work = (name: string, { run, isFirst }: { run: () => Promise<unknown>; isFirst: boolean }): JSX.Element => (
    <WorkButton key={name} class={isFirst ? 'button primary' : 'button'} isBlocked={isBlocked} run={run}>
      {name}
    </WorkButton>
  );
  const buttons = (): JSX.Element[] => {
    if (isRestarting(db_id)) {
      return [
        <button key={commonWords.restart} type="button" class="button busy" aria-disabled>
          {verbWords.restart.ongoing}
        </button>,
      ];
    }
    if (status === 'running') {
      return [
        work(power.pause, { run: () => berth.containers.pause(db_id), isFirst: false }),
        verb(commonWords.restart, askToRestart),
        verb(commonWords.stop, askToStop),
      ];
    }
    if (status === 'paused') {
      return [
        work(power.resume, { run: () => berth.containers.resume(db_id), isFirst: true }),
        verb(commonWords.stop, askToStop),
      ];
    }
    return [work(commonWords.start, { run: () => berth.containers.start(db_id), isFirst: true })];
  };
  return (
    <div class="power" ref={group}>
      {buttons()}
    </div>
  );
}

/** How many of the user's past events are read, of which some are the container's. */
const PAST = 300;

async function readPast(): Promise<readonly BerthEvent[]> {
  const { answer } = await berth.containers.list({ limit: 1 }).page();
  const page = await berth.events.page(Math.max(0, answer.event_seq - PAST), { limit: PAST });
  return page.events.reverse();
}

/** The container's own events, the newest first. */
function ownEvents(id: string, past: readonly BerthEvent[]): readonly BerthEvent[] {
  return joined(events.value, past).filter(({ data }) =>
    'db_id' in data ? data.db_id === id : 'container_id' in data && data.container_id === id,
  );
}

interface EventsProps {
  readonly of: Loaded<unknown>;
  readonly events: readonly BerthEvent[];
}

function ContainerEvents({ of, events: own }: EventsProps): JSX.Element {
  return (
    <Shown of={of}>
      {() =>
        own.length === 0 ? (
          <div class="panel">
            <Empty title={containerWords.noEvents} />
          </div>
        ) : (
          <div class="panel">
            <EventList events={own} isOfOne />
          </div>
        )
      }
    </Shown>
  );
}

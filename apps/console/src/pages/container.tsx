import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { at, cpus, duration, megabytes } from '../data/format';
import { type Container, containerById, events, lifetimeOf, me } from '../data/live';
import type { BerthEvent } from '@berth/client';
import { isDiskEnforced } from '../data/server';
import { askToStop, remove } from '../data/verbs';
import { inWords } from '../data/words';
import { address, Link, navigate } from '../router';
import { later } from '../ui/later';
import { Menu } from '../ui/menu';
import { Ago, Empty, PageHead, Shown, useCurrentShown, useLoaded, WorkButton } from '../ui/parts';
import { DiskSize, NOT_ENFORCED } from '../ui/resources';
import { writeCommand } from './container-fields';
import { StatusCell, Use } from './containers';
import { EventList } from './event-list';
import { joined, readPast } from './events';
import { SettingsDialog } from './settings-dialog';
import { copyItems } from './snapshot-dialogs';

const Terminals = later(async () => (await import('./terminals')).Terminals);
const Processes = later(async () => (await import('./processes')).Processes);
const Ports = later(async () => (await import('./ports')).Ports);
const Files = later(async () => (await import('./files')).Files);
const ContainerSnapshots = later(async () => (await import('./container-snapshots')).ContainerSnapshots);
const StatsCharts = later(async () => (await import('./stats')).StatsCharts);

const TABS = [
  ['overview', 'Overview'],
  ['terminal', 'Terminal'],
  ['files', 'Files'],
  ['processes', 'Processes'],
  ['ports', 'Ports'],
  ['snapshots', 'Snapshots'],
  ['events', 'Events'],
] as const;

/** One container: what it is, what it does, and the way into it. */
export function ContainerPage({ id }: { readonly id: string }): JSX.Element {
  const [unlisted, setUnlisted] = useState<Container>();
  const [fault, setFault] = useState<unknown>();
  const [isSetting, setSetting] = useState(false);
  const container = containerById(id) ?? unlisted;

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
        <PageHead title="Container" />
        {fault === undefined ? (
          <p class="muted" role="status">
            Loading…
          </p>
        ) : (
          <div class="panel">
            <Empty title={inWords(fault)}>
              <Link class="button" href="/">
                To your containers
              </Link>
              <Link href="/deleted">Deleted ones can be restored</Link>
            </Empty>
          </div>
        )}
      </>
    );
  }

  const [name = '', ...rest] = address.value.fragment.split('/');
  const tab = TABS.find(([each]) => each === name)?.[0] ?? 'overview';
  return (
    <>
      <PageHead title={container.name} aside={<StatusCell container={container} />}>
        <div class="actions">
          <PowerButton container={container} />
          <button type="button" class="button" onClick={() => setSetting(true)}>
            Settings
          </button>
          <Menu
            label={`More for ${container.name}`}
            items={[...copyItems(container), { name: 'Delete', isDangerous: true, run: () => void remove(container) }]}
          />
        </div>
      </PageHead>
      <Tabs label={container.name} current={tab} />
      {tab === 'overview' && <Overview container={container} />}
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
      {tab === 'ports' && (
        <Inside container={container}>
          <Ports container={container} />
        </Inside>
      )}
      {tab === 'snapshots' && <ContainerSnapshots container={container} />}
      {tab === 'events' && <ContainerEvents id={container.db_id} />}
      {isSetting && <SettingsDialog container={container} onClose={() => setSetting(false)} />}
    </>
  );
}

function Tabs({ label, current }: { readonly label: string; readonly current: string }): JSX.Element {
  return (
    <nav class="tabs" aria-label={label} ref={useCurrentShown(current)}>
      {TABS.map(([name, words]) => (
        <a key={name} href={`#${name}`} aria-current={current === name ? 'page' : undefined}>
          {words}
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

/** What is inside a container: to be seen while it runs, by those who may. */
function Inside({ container, staysOpen = false, children }: InsideProps) {
  const { status, name } = container;
  const why = whyNotInside();
  const wasOpen = useRef(false);
  const isOpen = why === null && (status === 'running' || (staysOpen && wasOpen.current));
  wasOpen.current = isOpen;
  if (isOpen) return <>{children}</>;
  const isPaused = status === 'paused';
  return (
    <div class="panel">
      <Empty title={why ?? `“${name}” ${isPaused ? 'is paused' : 'does not run'}`}>
        {why === null && !isPaused && <p>Terminals, files and processes are there while it does.</p>}
        {why === null && isPaused && <p>Terminals, files and processes go on as they were.</p>}
        {why === null && <PowerButton container={container} />}
      </Empty>
    </div>
  );
}

function whyNotInside(): string | null {
  if (me.value?.limits.exec === false) return 'Your tier does not let anybody into its containers';
  return me.value?.scopes.includes('exec') ? null : 'Your token does not have the scope “exec”';
}

function PowerButton({ container }: { readonly container: Container }): JSX.Element | null {
  if (container.status === 'creating') return null;
  const stop = (
    <button type="button" class="button" onClick={() => askToStop(container)}>
      Stop
    </button>
  );
  if (container.status === 'running') {
    return (
      <>
        <WorkButton class="button" run={() => berth.containers.pause(container.db_id)}>
          Pause
        </WorkButton>
        {stop}
      </>
    );
  }
  return container.status === 'paused' ? (
    <>
      <WorkButton class="button primary" run={() => berth.containers.resume(container.db_id)}>
        Resume
      </WorkButton>
      {stop}
    </>
  ) : (
    <WorkButton class="button primary" run={() => berth.containers.start(container.db_id)}>
      Start
    </WorkButton>
  );
}

function Overview({ container }: { readonly container: Container }): JSX.Element {
  return (
    <div class="columns">
      <div class="stack">
        {container.status === 'running' && whyNotInside() === null ? (
          <StatsCharts container={container} />
        ) : (
          <div class="panel">
            <Empty title={whyNotInside() ?? 'Nothing to measure'}>
              {whyNotInside() === null && <p>CPU and memory are shown while the container runs.</p>}
            </Empty>
          </div>
        )}
      </div>
      <Facts container={container} />
    </div>
  );
}

const WHEN_IDLE = { stop: 'Stops', pause_then_stop: 'Is paused, and stopped later,', pause: 'Is paused' } as const;

function Facts({ container }: { readonly container: Container }): JSX.Element {
  const { resources, network, labels, start: command } = container;
  const items = Object.entries(labels);
  const { idle, idleAction, deletion } = lifetimeOf(container);
  return (
    <section class="panel" aria-labelledby="facts">
      <div class="panel-head">
        <h2 id="facts">Details</h2>
      </div>
      <dl class="facts panel-body">
        <dt>Image</dt>
        <dd class="mono">{container.image}</dd>
        {container.template && (
          <>
            <dt>Template</dt>
            <dd>
              {container.template.name} <span class="muted">version {container.template.version}</span>
            </dd>
          </>
        )}
        {container.role !== null && (
          <>
            <dt>Role</dt>
            <dd>
              {container.role} <span class="muted">{container.role_status}</span>
            </dd>
          </>
        )}
        <dt>Memory</dt>
        <dd>{megabytes(resources.memory_mb)}</dd>
        <dt>CPU</dt>
        <dd>{cpus(resources.cpu_shares)}</dd>
        <dt>Disk</dt>
        <dd>
          <DiskSize mb={resources.disk_mb} words="at /home/user" />
          {isDiskEnforced.value === false && <div class="muted">{NOT_ENFORCED}</div>}
        </dd>
        <dt>Network</dt>
        <dd>
          {typeof network === 'string'
            ? network.charAt(0).toUpperCase() + network.slice(1)
            : network.allow.map((each) => (
                <div key={each} class="mono">
                  {each}
                </div>
              ))}
        </dd>
        <dt>Use</dt>
        <dd>
          <Use container={container} />
        </dd>
        {container.expires_at && (
          <>
            <dt>Ends</dt>
            <dd>{at(container.expires_at)}</dd>
          </>
        )}
        <dt>When unused</dt>
        <dd>
          {idle === null ? 'Runs on' : `${WHEN_IDLE[idleAction]} after ${duration(idle)}`}
          {deletion !== null && `, deleted ${duration(deletion)} after its stop`}
        </dd>
        {command && (
          <>
            <dt>Start command</dt>
            <dd>
              <code>{writeCommand(command.command)}</code>
              {typeof container.ready === 'boolean' && (
                <div class="muted">{container.ready ? 'Ready' : 'Not ready'}</div>
              )}
            </dd>
          </>
        )}
        <dt>Labels</dt>
        <dd>
          {items.length === 0 ? (
            <span class="muted">None</span>
          ) : (
            <span class="chips">
              {items.map(([key, value]) => (
                <span key={key} class="chip">
                  {value === '' ? key : `${key}: ${value}`}
                </span>
              ))}
            </span>
          )}
        </dd>
        <dt>Created</dt>
        <dd>{container.created_at && <Ago time={container.created_at} />}</dd>
        <dt>Runs under</dt>
        <dd>{container.runtime === 'runsc' ? 'gVisor (runsc)' : (container.runtime ?? '—')}</dd>
        <dt>Id</dt>
        <dd class="mono">{container.db_id}</dd>
      </dl>
    </section>
  );
}

function ContainerEvents({ id }: { readonly id: string }): JSX.Element {
  const past = useLoaded(readPast);
  const isOwn = ({ data }: BerthEvent): boolean =>
    'db_id' in data ? data.db_id === id : 'container_id' in data && data.container_id === id;
  return (
    <Shown of={past}>
      {(before) => {
        const own = joined(events.value, before).filter(isOwn);
        return own.length === 0 ? (
          <div class="panel">
            <Empty title="Nothing has happened to it lately" />
          </div>
        ) : (
          <EventList events={own} isOfOne />
        );
      }}
    </Shown>
  );
}

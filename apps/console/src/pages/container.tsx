import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { call } from '../data/api';
import { at, cpus, duration, megabytes } from '../data/format';
import { containerById, events, me } from '../data/live';
import type { BerthEvent, Container } from '../data/types';
import { askToStop, remove, start } from '../data/verbs';
import { inWords } from '../data/words';
import { address, Link, navigate } from '../router';
import { Menu } from '../ui/menu';
import { Ago, Empty, PageHead, Shown, useLoaded, WorkButton } from '../ui/parts';
import { writeCommand } from './container-fields';
import { StatusCell, Use } from './containers';
import { EventList } from './event-list';
import { joined, readPast } from './events';
import { SettingsDialog } from './settings-dialog';

const TABS = [
  ['overview', 'Overview'],
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
    call<Container>('GET', `/api/containers/${encodeURIComponent(id)}`).then((found) => {
      if (containerById(found.db_id)) navigate(`/containers/${found.db_id}`, { replace: true });
      else setUnlisted(found);
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

  const tab = TABS.find(([name]) => name === address.value.fragment)?.[0] ?? 'overview';
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
            items={[{ name: 'Delete', isDangerous: true, run: () => void remove(container) }]}
          />
        </div>
      </PageHead>
      <nav class="tabs" aria-label={container.name}>
        {TABS.map(([name, words]) => (
          <a key={name} href={`#${name}`} aria-current={tab === name ? 'page' : undefined}>
            {words}
          </a>
        ))}
      </nav>
      {tab === 'overview' && <Overview container={container} />}
      {tab === 'events' && <ContainerEvents id={container.db_id} />}
      {isSetting && <SettingsDialog container={container} onClose={() => setSetting(false)} />}
    </>
  );
}

function PowerButton({ container }: { readonly container: Container }): JSX.Element | null {
  if (container.status === 'creating') return null;
  return container.status === 'running' ? (
    <button type="button" class="button" onClick={() => askToStop(container)}>
      Stop
    </button>
  ) : (
    <WorkButton class="button primary" run={() => start(container)}>
      Start
    </WorkButton>
  );
}

function Overview({ container }: { readonly container: Container }): JSX.Element {
  return (
    <div class="columns">
      <Facts container={container} />
    </div>
  );
}

function Facts({ container }: { readonly container: Container }): JSX.Element {
  const { resources, network, labels, start: command } = container;
  const items = Object.entries(labels);
  const limits = me.value?.limits;
  const deletion = container.auto_delete_seconds ?? limits?.auto_delete_seconds ?? null;
  return (
    <section class="panel" aria-labelledby="facts">
      <div class="panel-head">
        <h2 id="facts">Details</h2>
      </div>
      <dl class="facts panel-body">
        <dt>Image</dt>
        <dd class="mono">{container.image}</dd>
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
          {megabytes(resources.disk_mb)} <span class="muted">at /home/user</span>
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
        {container.expires_at !== null && (
          <>
            <dt>Ends</dt>
            <dd>{at(container.expires_at)}</dd>
          </>
        )}
        <dt>When unused</dt>
        <dd>
          {container.auto_stop_seconds === null ? 'Runs on' : `Stops after ${duration(container.auto_stop_seconds)}`}
          {deletion !== null && `, deleted ${duration(deletion)} after its stop`}
        </dd>
        {command && (
          <>
            <dt>Start command</dt>
            <dd>
              <code>{writeCommand(command.command)}</code>
              {container.ready !== null && <div class="muted">{container.ready ? 'Ready' : 'Not ready'}</div>}
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
        <dd>
          <Ago time={container.created_at} />
        </dd>
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
  const isOwn = ({ data }: BerthEvent): boolean => data['db_id'] === id || data['container_id'] === id;
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

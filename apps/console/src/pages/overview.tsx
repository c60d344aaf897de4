import type { BerthEvent, PortView, SshServerView } from '@berth/client';
import type { JSX } from 'preact';
import { useMemo } from 'preact/hooks';
import { berth } from '../data/berth';
import { writeCommand } from '../data/container-draft';
import { at, cpus, duration, megabytes } from '../data/format';
import { type Container, lifetimeOf, now, refresh } from '../data/live';
import { isDiskEnforced } from '../data/server';
import { useUsage } from '../data/statistics';
import { inWords } from '../words/errors';
import { Copyable } from '../ui/copy';
import { Ago, Empty, useLoaded, WorkButton } from '../ui/parts';
import { DiskSize, NOT_ENFORCED } from '../ui/resources';
import { type Problem, problemsOf, type Remedy } from './container-problems';
import { Use } from './container-row';
import { EventList } from './event-list';
import { openPreview, useListening } from './ports';
import { UsageCharts } from './stats';

interface OverviewProps {
  readonly container: Container;
  /** The container's own, the newest first. */
  readonly events: readonly BerthEvent[];
  /** Why its user may not look inside; null if that is allowed. */
  readonly whyNotInside: string | null;
  readonly onSettings: () => void;
}

/** What a container is, how it is, what it uses, and what happened last. */
export function Overview({ container, events, whyNotInside, onSettings }: OverviewProps): JSX.Element {
  const { name, status, resources } = container;
  const usage = useUsage(container, whyNotInside === null);
  const isUp = status === 'running' || status === 'paused';
  const problems = problemsOf({
    container,
    events,
    lifetime: lifetimeOf(container),
    latest: usage.latest,
    samples: usage.samples,
    isDiskEnforced: isDiskEnforced.value,
    now: now.value,
  });
  return (
    <>
      <Problems container={container} problems={problems} onSettings={onSettings} />
      <div class="columns">
        <div class="stack">
          {whyNotInside === null && (isUp || usage.samples.length > 0 || !usage.isRead) ? (
            <UsageCharts name={name} usage={usage} diskMb={resources.disk_mb} isUp={isUp} />
          ) : (
            <section class="panel" aria-label={`Use of ${name}`}>
              <Empty title={whyNotInside ?? `“${name}” is ${STATES[status] ?? status}`}>
                {whyNotInside === null && <p>CPU, memory, disk and network are shown once it runs.</p>}
              </Empty>
            </section>
          )}
          <LastEvents events={events} />
        </div>
        <div class="stack">
          {status === 'running' && whyNotInside === null && <Listening container={container} />}
          <Details container={container} />
        </div>
      </div>
    </>
  );
}

const STATES: Readonly<Record<string, string>> = { creating: 'being created', error: 'not running' };

interface ProblemsProps {
  readonly container: Container;
  readonly problems: readonly Problem[];
  readonly onSettings: () => void;
}

function Problems({ container, problems, onSettings }: ProblemsProps): JSX.Element | null {
  if (problems.length === 0) return null;
  return (
    <ul class="problems" aria-label="Problems">
      {problems.map(({ key, isBad, text, output, remedy }) => (
        <li key={key} class={`notice ${isBad ? 'bad' : 'warn'}`}>
          <div class="grow">
            <p>{text}</p>
            {output !== undefined && (
              <details>
                <summary>Output of the program</summary>
                <pre class="problem-output" tabIndex={0}>
                  {output}
                </pre>
              </details>
            )}
          </div>
          <RemedyButton container={container} remedy={remedy} onSettings={onSettings} />
        </li>
      ))}
    </ul>
  );
}

interface RemedyProps {
  readonly container: Container;
  readonly remedy: Remedy;
  readonly onSettings: () => void;
}

function RemedyButton({ container: { db_id, status }, remedy, onSettings }: RemedyProps): JSX.Element {
  if (typeof remedy === 'object') {
    return (
      <a class="button slim" href={`#${remedy.tab}`}>
        {remedy.words}
      </a>
    );
  }
  if (remedy === 'settings') {
    return (
      <button type="button" class="button slim" onClick={onSettings}>
        Change the size
      </button>
    );
  }
  const restart = async (): Promise<void> => {
    await berth.containers.stop(db_id);
    await berth.containers.start(db_id);
  };
  const works = {
    start: [status === 'error' ? 'Try again' : 'Start', () => berth.containers.start(db_id)],
    restart: ['Restart', restart],
    reload: ['Reload', refresh],
    keep: [status === 'stopped' ? 'Keep it' : 'Keep it running', () => berth.containers.touch(db_id).then(refresh)],
  } as const satisfies Record<string, readonly [string, () => Promise<unknown>]>;
  const [words, run] = works[remedy];
  return (
    <WorkButton class="button slim" run={run}>
      {words}
    </WorkButton>
  );
}

const SHOWN_EVENTS = 5;

function LastEvents({ events }: { readonly events: readonly BerthEvent[] }): JSX.Element {
  const last = events.filter(({ type }) => !type.endsWith('_progress'));
  return (
    <section class="panel" aria-labelledby="last-events">
      <div class="panel-head">
        <h2 id="last-events">What happened last</h2>
        {last.length > SHOWN_EVENTS && <a href="#events">All events</a>}
      </div>
      {last.length === 0 ? (
        <p class="panel-body muted">Nothing lately.</p>
      ) : (
        <EventList events={last} isOfOne most={SHOWN_EVENTS} />
      )}
    </section>
  );
}

/** The ports on which the container's programs listen, with a way to open each. */
function Listening({ container }: { readonly container: Container }): JSX.Element {
  const { db_id, id } = container;
  const { value: ports, fault } = useListening(db_id, id);
  return (
    <section class="panel" aria-labelledby="listening">
      <div class="panel-head">
        <h2 id="listening">Listening ports</h2>
        {ports && ports.length > 0 && <a href="#ports">Links and access</a>}
      </div>
      <div class="panel-body">
        {ports === undefined ? (
          <p class="muted">{fault === undefined ? 'Loading…' : inWords(fault)}</p>
        ) : ports.length === 0 ? (
          <p class="muted">None. A server that you start in the container appears here.</p>
        ) : (
          <ul class="listening">
            {ports.map((port) => (
              <ListeningPort key={port.port} container={db_id} port={port} />
            ))}
          </ul>
        )}
      </div>
    </section>
  );
}

function ListeningPort({ container, port: { port, addresses, access, url } }: PortProps): JSX.Element {
  return (
    <li>
      <span class="grow">
        <strong class="mono">{port}</strong>{' '}
        <span class="muted small">
          {addresses.join(', ')}
          {access === 'public' && ', public'}
        </span>
      </span>
      {url === null ? (
        <span class="muted small">Previews are off</span>
      ) : (
        <WorkButton
          class="button slim"
          aria-label={`Open port ${String(port)}`}
          run={() => openPreview(container, port)}
        >
          Open
        </WorkButton>
      )}
    </li>
  );
}

interface PortProps {
  readonly container: string;
  readonly port: PortView;
}

const WHEN_IDLE = { stop: 'Stops', pause_then_stop: 'Is paused, and stopped later,', pause: 'Is paused' } as const;

function Details({ container }: { readonly container: Container }): JSX.Element {
  const { resources, network, labels, start: command, ip_address: ip } = container;
  const items = Object.entries(labels);
  const { idle, idleAction, deletion } = lifetimeOf(container);
  return (
    <section class="panel" aria-labelledby="facts">
      <div class="panel-head">
        <h2 id="facts">Details</h2>
      </div>
      <dl class="facts panel-body">
        <dt>Id</dt>
        <dd>
          <Copyable text={container.db_id} what="Id" />
        </dd>
        {ip != null && (
          <>
            <dt>Address</dt>
            <dd>
              <Copyable text={ip} what="Address" />
            </dd>
          </>
        )}
        <Ssh name={container.name} />
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
          {idle === null ? 'Keeps running' : `${WHEN_IDLE[idleAction]} after ${duration(idle)}`}
          {deletion !== null && `, deleted ${duration(deletion)} after it stopped`}
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
        <dt>Isolation</dt>
        <dd>{container.runtime === 'runsc' ? 'gVisor (runsc)' : (container.runtime ?? '—')}</dd>
      </dl>
    </section>
  );
}

/** Read once. null if the server does not serve SSH. */
let sshServer: Promise<SshServerView | null> | undefined;

function readSshServer(): Promise<SshServerView | null> {
  return (sshServer ??= berth.ssh.server().catch(() => {
    sshServer = undefined;
    return null;
  }));
}

function Ssh({ name }: { readonly name: string }): JSX.Element | null {
  const { value: server } = useLoaded(readSshServer);
  const command = useMemo(
    () => (server ? `ssh ${name}@${server.host ?? location.hostname} -p ${String(server.port)}` : null),
    [server, name],
  );
  if (command === null) return null;
  return (
    <>
      <dt>SSH</dt>
      <dd>
        <Copyable text={command} what="SSH command" />
      </dd>
    </>
  );
}

import type { BerthEvent, PortView, SshServerView } from '@berth/client';
import type { JSX } from 'preact';
import { useMemo } from 'preact/hooks';
import { berth } from '../data/berth';
import { writeCommand } from '../data/container-draft';
import { at, cpus, duration, megabytes } from '../words/format';
import { type Container, lifetimeOf, now, refresh } from '../data/live';
import { isDiskEnforced } from '../data/server';
import { useUsage } from '../data/statistics';
import { commonWords } from '../words/common';
import { inWords } from '../words/errors';
import { overviewWords } from '../words/overview';
import { portsWords } from '../words/ports';
import { Copyable, CopyButton } from '../ui/copy';
import { Ago, Empty, Status, useLoaded, WorkButton } from '../ui/parts';
import { restart } from '../ui/verbs';
import { type Problem, problemsOf, type Remedy } from './container-problems';
import { Use } from './container-row';
import { EventList } from './event-list';
import { openPreview, useListening } from './ports';
import { UsageCharts } from './stats';
import { Variables } from './variables';

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
  const hasUsage = isUp || usage.samples.length > 0 || usage.fault !== undefined || !usage.isRead;
  // Of one that is up, something is shown, or `whyNotInside`.
  const state = isUp ? 'stopped' : status;
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
          {whyNotInside === null && hasUsage ? (
            <UsageCharts name={name} usage={usage} diskMb={resources.disk_mb} isUp={isUp} />
          ) : (
            <section class="panel" aria-label={overviewWords.usage.title(name)}>
              <Empty title={whyNotInside ?? overviewWords.usage.none[state](name)}>
                {whyNotInside === null && <p>{overviewWords.usage.noneHint}</p>}
              </Empty>
            </section>
          )}
          <LastEvents events={events} />
        </div>
        <div class="stack">
          {status === 'running' && whyNotInside === null && <Listening container={container} />}
          <Details container={container} />
          <Variables container={container} />
        </div>
      </div>
    </>
  );
}

interface ProblemsProps {
  readonly container: Container;
  readonly problems: readonly Problem[];
  readonly onSettings: () => void;
}

function Problems({ container, problems, onSettings }: ProblemsProps): JSX.Element | null {
  if (problems.length === 0) return null;
  return (
    <ul class="problems" aria-label={overviewWords.problems.title}>
      {problems.map(({ key, isBad, text, output, remedy }) => (
        <li key={key} class={`notice ${isBad ? 'bad' : 'warn'}`}>
          <div class="grow">
            <p>{text}</p>
            {output !== undefined && (
              <details>
                <summary>{overviewWords.problems.output}</summary>
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
  const words = overviewWords.problems;
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
        {words.settings}
      </button>
    );
  }
  const works = {
    start: [status === 'error' ? words.startAgain : commonWords.start, () => berth.containers.start(db_id)],
    restart: [commonWords.restart, () => restart({ db_id })],
    reload: [commonWords.reload, refresh],
    keep: [status === 'stopped' ? words.keep : words.keepRunning, () => berth.containers.touch(db_id).then(refresh)],
  } as const satisfies Record<string, readonly [string, () => Promise<unknown>]>;
  const [name, run] = works[remedy];
  return (
    <WorkButton class="button slim" run={run}>
      {name}
    </WorkButton>
  );
}

const SHOWN_EVENTS = 5;

function LastEvents({ events }: { readonly events: readonly BerthEvent[] }): JSX.Element {
  const last = events.filter(({ type }) => !type.endsWith('_progress'));
  return (
    <section class="panel" aria-labelledby="last-events">
      <div class="panel-head">
        <h2 id="last-events">{overviewWords.events.title}</h2>
        {last.length > SHOWN_EVENTS && <a href="#events">{overviewWords.events.all}</a>}
      </div>
      {last.length === 0 ? (
        <p class="panel-body muted">{overviewWords.events.none}</p>
      ) : (
        <EventList events={last} isOfOne most={SHOWN_EVENTS} />
      )}
    </section>
  );
}

/** The ports on which the container's programs listen: the address of each, and who may see it. */
function Listening({ container }: { readonly container: Container }): JSX.Element {
  const { db_id, id } = container;
  const { value: ports, fault } = useListening(db_id, id);
  const words = overviewWords.listening;
  return (
    <section class="panel" aria-labelledby="listening">
      <div class="panel-head">
        <h2 id="listening">{words.title}</h2>
        {ports && ports.length > 0 && <a href="#ports">{words.more}</a>}
      </div>
      <div class="panel-body">
        {ports === undefined ? (
          <p class="muted">{fault === undefined ? overviewWords.loading : inWords(fault)}</p>
        ) : ports.length === 0 ? (
          <p class="muted">{words.none}</p>
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

function ListeningPort({ container, port: { port, access, url } }: PortProps): JSX.Element {
  const isPublic = access === 'public';
  const { everyone, own } = portsWords.access;
  return (
    <li>
      <div class="port-head">
        <strong class="mono grow">{port}</strong>
        {url !== null && (
          <>
            <CopyButton text={url} what={overviewWords.listening.address(port)} />
            <WorkButton
              class="button slim"
              aria-label={portsWords.openPort(port)}
              run={() => openPreview(container, port)}
            >
              {portsWords.open}
            </WorkButton>
          </>
        )}
      </div>
      {url === null ? (
        <span class="muted small">{portsWords.previewsOff}</span>
      ) : (
        <>
          <span class="mono">{url}</span>
          <span class="small">
            <Status of={isPublic ? 'running' : 'stopped'} word={isPublic ? everyone : own} />
          </span>
        </>
      )}
    </li>
  );
}

interface PortProps {
  readonly container: string;
  readonly port: PortView;
}

function Details({ container }: { readonly container: Container }): JSX.Element {
  const words = overviewWords.details;
  const { resources, network, labels, start: command, ip_address: ip } = container;
  const items = Object.entries(labels);
  const { idle, idleAction, deletion } = lifetimeOf(container);
  return (
    <section class="panel" aria-labelledby="facts">
      <div class="panel-head">
        <h2 id="facts">{words.title}</h2>
      </div>
      <dl class="facts panel-body">
        <dt>{words.id}</dt>
        <dd>
          <Copyable text={container.db_id} what={words.id} />
        </dd>
        {ip != null && (
          <>
            <dt>{words.address}</dt>
            <dd>
              <Copyable text={ip} what={words.address} />
            </dd>
          </>
        )}
        <Ssh name={container.name} />
        <dt>{commonWords.image}</dt>
        <dd class="mono">{container.image}</dd>
        {container.template && (
          <>
            <dt>{words.template}</dt>
            <dd>
              {container.template.name} <span class="muted">{words.templateVersion(container.template.version)}</span>
            </dd>
          </>
        )}
        {container.role !== null && (
          <>
            <dt>{words.role}</dt>
            <dd>
              {container.role}{' '}
              <span class="muted">{container.role_status && words.roleStatuses[container.role_status]}</span>
            </dd>
          </>
        )}
        <dt>{words.memory}</dt>
        <dd>{megabytes(resources.memory_mb)}</dd>
        <dt>{words.cpu}</dt>
        <dd>{cpus(resources.cpu_shares)}</dd>
        <dt>{words.disk}</dt>
        <dd>
          {megabytes(resources.disk_mb)} {words.diskPlace}
        </dd>
        <dt>{words.network}</dt>
        <dd>
          {typeof network === 'string'
            ? words.networks[network]
            : network.allow.map((each) => (
                <div key={each} class="mono">
                  {each}
                </div>
              ))}
        </dd>
        <dt>{words.use}</dt>
        <dd>
          <Use container={container} />
        </dd>
        {container.expires_at && (
          <>
            <dt>{words.ends}</dt>
            <dd>{at(container.expires_at)}</dd>
          </>
        )}
        {container.lifetime_seconds != null && container.end_action && (
          <>
            <dt>{words.lifetime}</dt>
            <dd title={container.ends_at ? at(container.ends_at) : undefined}>
              {words.lifetimeEnds({
                action: container.end_action,
                left: container.ends_at
                  ? duration(Math.max(1, (Date.parse(container.ends_at) - now.value) / 1000))
                  : null,
                whole: duration(container.lifetime_seconds),
              })}
            </dd>
          </>
        )}
        <dt>{words.unused}</dt>
        <dd>
          {words.unusedActions({
            idle: idle === null ? null : duration(idle),
            action: idleAction,
            deletion: deletion === null ? null : duration(deletion),
          })}
        </dd>
        {command && (
          <>
            <dt>{words.startCommand}</dt>
            <dd>
              <code>{writeCommand(command.command)}</code>
              {typeof container.ready === 'boolean' && (
                <div class="muted">{container.ready ? words.ready : words.notReady}</div>
              )}
            </dd>
          </>
        )}
        <dt>{words.labels}</dt>
        <dd>
          {items.length === 0 ? (
            <span class="muted">{words.noLabels}</span>
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
        <dt>{commonWords.created}</dt>
        <dd>{container.created_at && <Ago time={container.created_at} />}</dd>
        <dt>{words.isolation}</dt>
        <dd>{container.runtime === 'runsc' ? words.gvisor : (container.runtime ?? '—')}</dd>
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
      <dt>{overviewWords.details.ssh}</dt>
      <dd>
        <Copyable text={command} what={overviewWords.details.sshCommand} />
      </dd>
    </>
  );
}

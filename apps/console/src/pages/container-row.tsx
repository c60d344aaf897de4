import { computed } from '@preact/signals';
import type { JSX } from 'preact';
import { memo } from 'preact/compat';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { maySeeInside } from '../data/access';
import { berth } from '../data/berth';
import { at, briefly, shortImage } from '../words/format';
import { changeView } from '../data/list-view';
import { type Container, lifetimeOf, now } from '../data/live';
import { followInView, LINE_HEIGHT, SPAN_S, usageOf } from '../data/live-usage';
import { isSelected, select } from '../data/selection';
import { isPending, isUp, pause, remove } from '../ui/verbs';
import { commonWords } from '../words/common';
import { containerRowWords } from '../words/container-row';
import { reasonInWords } from '../words/errors';
import { Link, navigate } from '../router';
import { GlobeIcon, PromptIcon } from '../ui/icons';
import { Menu } from '../ui/menu';
import { Meter, Status, WorkButton } from '../ui/parts';
import { ResourceAmounts } from '../ui/resources';
import { copyItems } from './snapshot-dialogs';

type ContainerStatus = Container['status'];

interface RowProps {
  readonly container: Container;
  readonly canSelect: boolean;
  readonly hasUsage: boolean;
  readonly onSettings: (container: Container) => void;
}

/** A container in the list. It is rendered again only if what it shows has changed. */
export const ContainerRow = memo(function ContainerRow(props: RowProps): JSX.Element {
  const { container, canSelect, hasUsage, onSettings } = props;
  const { db_id, name, labels, image, role, resources, status, created_at } = container;
  const items = Object.entries(labels);
  return (
    <tr data-id={db_id}>
      {canSelect && (
        <td class="check-cell">
          <Selected id={db_id} name={name} />
        </td>
      )}
      <td class="name-cell">
        <div class="two">
          <Link class="name" href={`/containers/${db_id}`}>
            {name}
          </Link>
          {items.length > 0 && (
            <span class="chips">
              {items.slice(0, 4).map(([key, value]) => (
                <button
                  key={key}
                  type="button"
                  class="chip"
                  title={containerRowWords.filterBy(`${key}:${value}`)}
                  onClick={() => changeView({ search: `${key}:${value}` })}
                >
                  {value === '' ? key : `${key}: ${value}`}
                </button>
              ))}
              {items.length > 4 && <span class="chip">+{items.length - 4}</span>}
            </span>
          )}
        </div>
      </td>
      <td>
        <StatusCell container={container} />
      </td>
      <td class="muted image-cell">
        <div class="two">
          <span>
            {shortImage(image)}
            {role !== null && <span class="nowrap"> + {role}</span>}
          </span>
          <div class="small">
            <ResourceAmounts of={resources} />
          </div>
        </div>
      </td>
      {hasUsage && <td class="usage-cell">{status === 'running' && <UsageLines id={db_id} />}</td>}
      <td class="muted nowrap" data-name={commonWords.created}>
        {created_at !== undefined && <Created time={created_at} />}
      </td>
      <td class="muted nowrap">
        <Use container={container} />
      </td>
      <td class="actions-cell">
        <Actions container={container} onSettings={onSettings} />
      </td>
    </tr>
  );
}, isSameRow);

function isSameRow(one: RowProps, other: RowProps): boolean {
  return (
    one.canSelect === other.canSelect &&
    one.hasUsage === other.hasUsage &&
    (one.container === other.container || isSame(one.container, other.container))
  );
}

/** After several changes the whole list is read again: then every container is another object, and few have changed. */
function isSame(one: Container, other: Container): boolean {
  const keys = Object.keys(other) as (keyof Container)[];
  if (keys.length !== Object.keys(one).length) return false;
  // Rows show the time of the last use in its place.
  return keys.every((key) => key === 'idle_seconds' || isSameValue(one[key], other[key]));
}

const isSameValue = (one: unknown, other: unknown): boolean =>
  one === other || (typeof one === 'object' && JSON.stringify(one) === JSON.stringify(other));

/** Bound to the selection directly: a click changes this box, and renders no other row. */
function Selected({ id, name }: { readonly id: string; readonly name: string }): JSX.Element {
  const isOn = useMemo(() => computed(() => isSelected(id)), [id]);
  return (
    <input
      type="checkbox"
      aria-label={containerRowWords.select(name)}
      checked={isOn}
      onClick={(event) => select(id, { isOn: event.currentTarget.checked, hasRange: event.shiftKey })}
    />
  );
}

function Created({ time }: { readonly time: string }): JSX.Element {
  const words = useMemo(
    () =>
      computed(() => {
        const seconds = (now.value - Date.parse(time)) / 1000;
        return seconds < 60 ? containerRowWords.justNow : containerRowWords.ago(briefly(seconds));
      }),
    [time],
  );
  return (
    <time dateTime={time} title={at(time)}>
      {words}
    </time>
  );
}

/** CPU and memory of the last minutes, once the row is in view. */
function UsageLines({ id }: { readonly id: string }): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => (place.current ? followInView(place.current, id) : undefined), [id]);
  const usage = usageOf(id).value;
  const words = containerRowWords.usage;
  return (
    <div class="usage-lines" ref={place}>
      {usage && (
        <>
          <UsageLine name={words.cpu} of={usage.cpu} title={words.cpuHint} />
          <UsageLine name={words.memory} of={usage.memory} title={words.memoryHint} />
        </>
      )}
    </div>
  );
}

type LineSignals = NonNullable<ReturnType<typeof usageOf>['value']>['cpu'];

function UsageLine({ name, of, title }: { readonly name: string; readonly of: LineSignals; readonly title: string }) {
  return (
    <span class="usage-line" title={title}>
      <span class="visually-hidden">{name}</span>
      <svg viewBox={`0 0 ${String(SPAN_S)} ${String(LINE_HEIGHT)}`} preserveAspectRatio="none" aria-hidden="true">
        <path d={of.path} />
      </svg>
      <span class="small">{of.text}</span>
    </span>
  );
}

/** The status, and the progress of what is under way. */
export function StatusCell({ container }: { readonly container: Container }): JSX.Element {
  const { status, status_reason, role_status, progress: step } = container;
  const reason = reasonInWords(status_reason);
  const words = containerRowWords.status;
  if (step) {
    return (
      <div class="progress">
        <Status of={status} {...(status === 'running' && { word: words.running })} />
        <Meter value={step.percent} max={100} label={words.progress({ name: container.name, step: step.message })} />
        <span class="small muted ellipsis" title={step.message}>
          {step.message}
        </span>
      </div>
    );
  }
  return (
    <div class="two">
      <Status of={status} />
      {reason !== null && status !== 'running' && <span class="small muted">{reason}</span>}
      {container.node_state === 'unreachable' && <span class="small muted">{words.machineSilent}</span>}
      {role_status === 'failed' && <span class="small muted">{words.roleFailed}</span>}
      {role_status === 'installing' && <span class="small muted">{words.roleInstalling}</span>}
      {status === 'running' && container.ready === false && <span class="small muted">{words.notReady}</span>}
    </div>
  );
}

/** For how long it has not been used, and when it stops by itself. */
export function Use({ container }: { readonly container: Container }): JSX.Element {
  const { status, last_used_at, expires_at } = container;
  const { idle: idleAfter, idleAction } = lifetimeOf(container);
  // The details of a new container are read a moment later.
  if (last_used_at === undefined) return <span>{idleInWords(status, 0)}</span>;
  const idle = Math.max(0, (now.value - Date.parse(last_used_at)) / 1000);
  const runEnd = expires_at ? (Date.parse(expires_at) - now.value) / 1000 : Infinity;
  const idleEnd = idleAfter === null ? Infinity : idleAfter - idle;
  const end = Math.min(runEnd, idleEnd);
  const endsIn =
    idleEnd < runEnd && idleAction !== 'stop' ? containerRowWords.use.pausesIn : containerRowWords.use.stopsIn;
  return (
    <div class="two">
      <span>{idleInWords(status, idle)}</span>
      {status === 'running' && Number.isFinite(end) && (
        <span class={`small ${end < 600 ? 'status warn' : ''}`}>{endsIn(briefly(Math.max(end, 1)))}</span>
      )}
    </div>
  );
}

function idleInWords(status: ContainerStatus, seconds: number): string {
  const words = containerRowWords.use;
  if (status === 'creating') return '';
  if (status !== 'running') return seconds < 60 ? words.usedJustNow : words.usedAgo(briefly(seconds));
  return seconds < 60 ? words.inUse : words.idleFor(briefly(seconds));
}

function Actions({ container, onSettings }: Pick<RowProps, 'container' | 'onSettings'>): JSX.Element {
  const { db_id, name, status } = container;
  const address = `/containers/${db_id}`;
  const isRunning = status === 'running';
  const isBusy = useMemo(() => computed(() => isPending(db_id)), [db_id]).value;
  const words = containerRowWords.actions;
  return (
    <div class="actions">
      {isRunning && maySeeInside.value && (
        <>
          <Link
            class="button quiet icon"
            href={`${address}#terminal`}
            aria-label={words.terminalOf(name)}
            title={words.terminal}
          >
            <PromptIcon />
          </Link>
          <Link
            class="button quiet icon"
            href={`${address}#ports`}
            aria-label={words.portsOf(name)}
            title={words.ports}
          >
            <GlobeIcon />
          </Link>
        </>
      )}
      {status === 'paused' && (
        <WorkButton
          class="button slim"
          aria-label={words.resumeOf(name)}
          isBlocked={isBusy}
          run={() => berth.containers.resume(db_id)}
        >
          {words.resume}
        </WorkButton>
      )}
      {isUp(status) ? (
        <WorkButton
          class="button slim"
          aria-label={words.stopOf(name)}
          isBlocked={isBusy}
          run={() => berth.containers.stop(db_id)}
        >
          {commonWords.stop}
        </WorkButton>
      ) : (
        status !== 'creating' && (
          <WorkButton
            class="button slim"
            aria-label={words.startOf(name)}
            isBlocked={isBusy}
            run={() => berth.containers.start(db_id)}
          >
            {commonWords.start}
          </WorkButton>
        )
      )}
      <Menu
        label={words.more(name)}
        isBusy={isBusy}
        items={[
          ...(isRunning
            ? [
                { name: words.files, run: () => navigate(`${address}#files`) },
                { name: words.pause, run: () => void pause(container) },
              ]
            : []),
          { name: words.settings, run: () => onSettings(container) },
          ...copyItems(container),
          { name: commonWords.delete, isDangerous: true, run: () => void remove(container) },
        ]}
      />
    </div>
  );
}

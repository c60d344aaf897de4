import type { JSX } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { maySeeInside } from '../data/access';
import {
  changeView,
  clearFilter,
  drawMore,
  FIRST_SORTS,
  restoring,
  rowsDrawn,
  search,
  shown,
  type SortKey,
  sort,
  sortBy,
  STATUS_FILTERS,
  statusCounts,
  statusFilter,
  usePlaceKept,
} from '../data/list-view';
import { type Container, containers, fault, listed, me, usage } from '../data/live';
import { useUsageStream } from '../data/live-usage';
import { selectedShown, selectShown } from '../data/selection';
import { containersWords, firstCommands, firstRequest } from '../words/containers';
import { inWords } from '../words/errors';
import { Link } from '../router';
import { Code } from '../ui/copy';
import { ArrowIcon, PlusIcon } from '../ui/icons';
import { Empty, Meter, PageHead } from '../ui/parts';
import { later } from '../ui/later';
import { SortHead } from '../ui/sort-head';
import { ContainerRow } from './container-row';
import { ActionFailures, SelectionBar } from './selection-bar';

const SettingsDialog = later(async () => (await import('./settings-dialog')).SettingsDialog);

/** The live list of the user's containers. */
export function Containers(): JSX.Element {
  usePlaceKept();
  const [beingSet, setBeingSet] = useState<Container | null>(null);
  const canWrite = me.value?.scopes.some((scope) => scope === 'write' || scope === 'admin') ?? false;
  return (
    <>
      <PageHead title={containersWords.title} aside={<Usage />}>
        {canWrite && (
          <Link class="button primary" href="/new">
            <PlusIcon /> {containersWords.newContainer}
          </Link>
        )}
      </PageHead>
      {fault.value !== null && <p class="notice bad">{inWords(fault.value)}</p>}
      <Toolbar />
      <ActionFailures />
      <SelectionBar />
      <List canWrite={canWrite} onSettings={setBeingSet} />
      {beingSet && <SettingsDialog container={beingSet} onClose={() => setBeingSet(null)} />}
    </>
  );
}

function Usage(): JSX.Element | null {
  if (!usage.value) return null;
  const { containers: used, limit } = usage.value;
  return (
    <span class="usage muted">
      {containersWords.used({ used, limit })}
      <Meter value={used} max={limit} label={containersWords.usedHint} />
    </span>
  );
}

function Toolbar(): JSX.Element | null {
  if (containers.value.length === 0) return null;
  return (
    <div class="toolbar" role="search">
      <input
        class="input search"
        type="search"
        aria-label={containersWords.filter}
        placeholder={containersWords.filterExample}
        value={search.value}
        onInput={(event) => changeView({ search: event.currentTarget.value })}
      />
      <div class="segments" role="group" aria-label={containersWords.statusFilter}>
        {STATUS_FILTERS.map(([value, name]) => (
          <button
            key={value}
            type="button"
            aria-pressed={statusFilter.value === value}
            onClick={() => changeView({ status: value })}
          >
            {name} <span class="faint">{statusCounts.value.get(value) ?? 0}</span>
          </button>
        ))}
      </div>
    </div>
  );
}

interface ListProps {
  readonly canWrite: boolean;
  readonly onSettings: (container: Container) => void;
}

function List({ canWrite, onSettings }: ListProps): JSX.Element {
  if (!listed.value) {
    return (
      <p class="muted" role="status">
        {containersWords.loading}
      </p>
    );
  }
  if (containers.value.length === 0) return <NoContainers canWrite={canWrite} />;
  if (shown.value.length === 0) return <NothingFound />;
  return <Rows canSelect={canWrite} onSettings={onSettings} />;
}

const { columns } = containersWords;
const HEADS: Readonly<Record<SortKey, string>> = {
  name: columns.name,
  status: columns.status,
  created: columns.created,
  used: columns.used,
};

function Head({ by }: { readonly by: SortKey }): JSX.Element {
  const { by: current, isDescending } = sort.value;
  const direction = current !== by ? null : isDescending ? 'descending' : 'ascending';
  return <SortHead name={HEADS[by]} class={`${by}-head`} direction={direction} onClick={() => sortBy(by)} />;
}

interface RowsProps {
  readonly canSelect: boolean;
  readonly onSettings: (container: Container) => void;
}

function Rows({ canSelect, onSettings }: RowsProps): JSX.Element {
  useUsageStream();
  useReturn();
  const hasUsage = maySeeInside.value;
  const left = shown.value.length - rowsDrawn.value;
  return (
    <div class="panel">
      <div class="card-tools">
        {canSelect && (
          <label class="check">
            <SelectShown /> {containersWords.selectShown}
          </label>
        )}
        <SortChoice />
      </div>
      <table class="table cards containers">
        <caption class="visually-hidden">{containersWords.caption}</caption>
        <thead>
          <tr>
            {canSelect && (
              <th scope="col" class="check-cell">
                <SelectShown label={containersWords.selectShown} />
              </th>
            )}
            <Head by="name" />
            <Head by="status" />
            <th scope="col" class="image-cell">
              {columns.image}
            </th>
            {hasUsage && (
              <th scope="col" class="usage-head">
                {columns.usage}
              </th>
            )}
            <Head by="created" />
            <Head by="used" />
            <th scope="col" class="actions-head">
              <span class="visually-hidden">{columns.actions}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {shown.value.slice(0, rowsDrawn.value).map((container) => (
            <ContainerRow
              key={container.db_id}
              container={container}
              canSelect={canSelect}
              hasUsage={hasUsage}
              onSettings={onSettings}
            />
          ))}
        </tbody>
      </table>
      {left > 0 && <MoreRows left={left} onMore={drawMore} />}
    </div>
  );
}

/** Scrolls to where the list was left, and gives the focus to the container that is returned from. */
function useReturn(): void {
  const { value: target } = restoring;
  useLayoutEffect(() => {
    if (target) scrollTo(0, target.y);
  }, [target]);
  // After the page's heading has taken the focus.
  useEffect(() => {
    if (!target) return;
    restoring.value = null;
    if (target.id === null) return;
    const row = document.querySelector(`tr[data-id="${CSS.escape(target.id)}"]`);
    row?.querySelector<HTMLElement>('a.name')?.focus({ preventScroll: true });
  }, [target]);
}

/** Selects all containers of the list, or none of them; in between while some are. */
function SelectShown({ label }: { readonly label?: string }): JSX.Element {
  const [count, all] = [selectedShown.value, shown.value.length];
  return (
    <input
      type="checkbox"
      aria-label={label}
      checked={count > 0 && count === all}
      indeterminate={count > 0 && count < all}
      onClick={(event) => selectShown(event.currentTarget.checked)}
    />
  );
}

/** The order of cards, which have no heads to click on. */
function SortChoice(): JSX.Element {
  const { by, isDescending } = sort.value;
  return (
    <>
      <select
        class="input slim-select"
        aria-label={containersWords.sort.by}
        value={by}
        onChange={({ currentTarget: { value } }) => changeView({ sort: FIRST_SORTS[value as SortKey] })}
      >
        {Object.entries(HEADS).map(([key, name]) => (
          <option key={key} value={key}>
            {name}
          </option>
        ))}
      </select>
      <button
        type="button"
        class="button icon"
        aria-label={isDescending ? containersWords.sort.descending : containersWords.sort.ascending}
        title={containersWords.sort.reverse}
        onClick={() => sortBy(by)}
      >
        <ArrowIcon isUp={!isDescending} />
      </button>
    </>
  );
}

/** Draws further rows once it comes into view, or when it is pressed. */
function MoreRows({ left, onMore }: { readonly left: number; readonly onMore: () => void }): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const observer = new IntersectionObserver(([entry]) => entry?.isIntersecting && onMore(), { rootMargin: '600px' });
    if (place.current) observer.observe(place.current);
    return () => observer.disconnect();
  }, [left]);
  return (
    <div class="more-rows" ref={place}>
      <button type="button" class="button" onClick={onMore}>
        {containersWords.more(left)}
      </button>
    </div>
  );
}

function NoContainers({ canWrite }: { readonly canWrite: boolean }): JSX.Element {
  const { none } = containersWords;
  return (
    <div class="panel">
      <Empty title={none.title}>
        <p>{none.hint()}</p>
        {canWrite && <FirstWays />}
      </Empty>
    </div>
  );
}

/** The ways to a first container: each is complete, with this server's address. */
function FirstWays(): JSX.Element {
  const { none } = containersWords;
  return (
    <div class="first-ways">
      <section>
        <h3>{none.console}</h3>
        <Link class="button primary" href="/new">
          <PlusIcon /> {none.createFirst}
        </Link>
      </section>
      <section>
        <h3>{none.cli.title}</h3>
        <p>
          {none.cli.hint} <Link href="/tokens">{none.tokens}</Link>
        </p>
        <Code
          text={firstCommands({ server: location.origin, seesInside: maySeeInside.value })}
          what={none.cli.copied}
        />
      </section>
      <section>
        <h3>{none.api.title}</h3>
        <p>
          {none.api.hint()} <Link href="/tokens">{none.tokens}</Link>
        </p>
        <Code text={firstRequest(location.origin)} what={none.api.copied} />
      </section>
    </div>
  );
}

function NothingFound(): JSX.Element {
  return (
    <div class="panel">
      <Empty title={containersWords.nothingFound.title}>
        <button type="button" class="button" onClick={clearFilter}>
          {containersWords.nothingFound.clear}
        </button>
      </Empty>
    </div>
  );
}

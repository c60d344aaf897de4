import { type AuditEntryView, isBerthError } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { exportAudit, MOST_EXPORTED } from '../data/csv';
import { at, bytes } from '../words/format';
import { save } from '../data/save';
import { knownName, nameOf, readUserNames } from '../data/server';
import { address, navigate, replaceQuery } from '../router';
import { Paged, useRounds } from '../ui/paged';
import { Empty, PageHead, Shown, Status, Table, useLoaded, WorkButton } from '../ui/parts';
import { SearchBox } from '../ui/search-box';
import { say, sayFault } from '../ui/toasts';
import { auditWords } from '../words/admin-audit';
import { commonWords } from '../words/common';

/** The filters as they are in the page's address. */
const FILTERS = ['user', 'action', 'outcome', 'from', 'to', 'container'] as const;
type Filters = Readonly<Record<(typeof FILTERS)[number], string>>;

const OUTCOMES: readonly (readonly [string, string])[] = [
  ['', auditWords.outcomes.all],
  ['ok', auditWords.outcomes.ok],
  ['failed', auditWords.outcomes.failed],
  ['pending', auditWords.outcomes.pending],
];

type Query = Parameters<typeof berth.admin.audit>[0];

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** As the server takes it: an action, or the part before its dot. */
const ACTION = /^[a-z_]{1,32}(\.[a-z_]{1,31})?$/;

/** The query for the filters. @throws Error with what is wrong with them */
async function queryOf({ user, action, outcome, from, to, container }: Filters): Promise<NonNullable<Query>> {
  if (action !== '' && !ACTION.test(action)) {
    throw new Error(auditWords.faults.action);
  }
  return {
    ...(user !== '' && { user_id: await userId(user) }),
    ...(container !== '' && { container_id: await containerId(container) }),
    ...(action !== '' && { action }),
    ...(outcome !== '' && { outcome }),
    ...(from !== '' && { from }),
    ...(to !== '' && { to }),
  };
}

async function userId(user: string): Promise<string> {
  if (UUID.test(user)) return user;
  const unknown = new Error(auditWords.faults.user(user));
  const { items } = await berth.admin
    .users({ username: user })
    .page()
    .catch((error: unknown) => {
      // A text that cannot be a name.
      throw isBerthError(error, 'invalid_parameters') ? unknown : error;
    });
  const [found] = items;
  if (!found) throw unknown;
  return found.id;
}

async function containerId(container: string): Promise<string> {
  if (UUID.test(container)) return container;
  const { items } = await berth.admin.containers({ search: container, limit: 2 }).page();
  const [found] = items;
  if (!found) throw new Error(auditWords.faults.container(container));
  if (items.length > 1) throw new Error(auditWords.faults.containers(container));
  return found.db_id;
}

/** All users' actions, for administrators, with filters that are in the page's address. */
export function Audit(): JSX.Element {
  const { query } = address.value;
  const filters = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ''])) as Filters;
  const key = JSON.stringify(filters);
  const rounds = useRounds();
  const [actions, setActions] = useState<readonly string[]>([]);
  const asked = useLoaded(async () => ({ key, query: await queryOf(filters) }), [key, rounds.current]);
  useEffect(() => void readUserNames(), [rounds.current]);
  // There is no list then, which would end the round.
  useEffect(() => {
    if (asked.fault !== undefined) rounds.end();
  }, [asked.fault]);
  const hasFilters = FILTERS.some((name) => filters[name] !== '');
  const current = asked.fault === undefined && asked.value?.key === key ? asked.value.query : null;
  return (
    <>
      <PageHead title={auditWords.title} aside={<span class="muted">{auditWords.about}</span>}>
        {current && <ExportButton query={current} />}
        <WorkButton run={rounds.next}>{commonWords.reload}</WorkButton>
      </PageHead>
      <div class="filters" role="search">
        <SearchBox label={commonWords.user} value={filters.user} onValue={(user) => replaceQuery({ user })} />
        <SearchBox
          label={auditWords.filters.action}
          suggestions={actions}
          value={filters.action}
          onValue={(action) => replaceQuery({ action })}
        />
        <SearchBox
          label={auditWords.filters.container}
          placeholder={auditWords.filters.containerHint}
          value={filters.container}
          onValue={(container) => replaceQuery({ container })}
        />
        <select
          class="input"
          aria-label={auditWords.filters.outcome}
          value={filters.outcome}
          onChange={(event) => replaceQuery({ outcome: event.currentTarget.value })}
        >
          {(OUTCOMES.some(([value]) => value === filters.outcome)
            ? OUTCOMES
            : [...OUTCOMES, [filters.outcome, filters.outcome] as const]
          ).map(([value, words]) => (
            <option key={value} value={value}>
              {words}
            </option>
          ))}
        </select>
        <Moment label={auditWords.filters.from} value={filters.from} onValue={(from) => replaceQuery({ from })} />
        <Moment label={auditWords.filters.until} value={filters.to} onValue={(to) => replaceQuery({ to })} />
        {hasFilters && (
          <button type="button" class="button quiet" onClick={() => navigate('/admin/audit', { replace: true })}>
            {auditWords.filters.clear}
          </button>
        )}
      </div>
      {asked.fault !== undefined ? (
        <Shown of={{ ...asked, value: null }}>{() => null}</Shown>
      ) : (
        current && (
          <Paged
            list={() => berth.admin.audit({ ...current, limit: 50 })}
            of={key}
            rounds={rounds}
            empty={<Empty title={auditWords.empty} />}
          >
            {(entries) => <Entries entries={entries} onActions={setActions} />}
          </Paged>
        )
      )}
    </>
  );
}

interface MomentProps {
  readonly label: string;
  /** ISO 8601, in UTC; empty: none. */
  readonly value: string;
  readonly onValue: (value: string) => void;
}

/** A time of the user's own time zone. */
function Moment({ label, value, onValue }: MomentProps): JSX.Element {
  return (
    <label class="filter">
      {label}
      <input
        class="input"
        type="datetime-local"
        value={localTime(value)}
        onChange={({ currentTarget: { value: local } }) => onValue(local === '' ? '' : new Date(local).toISOString())}
      />
    </label>
  );
}

/** As an input of the type `datetime-local` has it. */
function localTime(iso: string): string {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) return '';
  return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** Downloads all entries that the filters leave, up to {@link MOST_EXPORTED}. */
function ExportButton({ query }: { readonly query: NonNullable<Query> }): JSX.Element {
  const [progress, setProgress] = useState<number | null>(null);
  const leaving = useRef<AbortController | null>(null);
  useEffect(() => () => leaving.current?.abort(), []);
  const run = async (): Promise<void> => {
    const own = new AbortController();
    leaving.current = own;
    setProgress(0);
    try {
      const pages = berth.admin.audit({ ...query, limit: 200, signal: own.signal }).pages();
      const { file, count: exported, isCut } = await exportAudit(pages, { nameOf: knownName, onProgress: setProgress });
      save(file, `berth-audit-${new Date().toISOString().slice(0, 10)}.csv`);
      say(isCut ? auditWords.export.cut(exported) : auditWords.export.done(exported));
    } catch (error) {
      if (!own.signal.aborted) sayFault(error);
    } finally {
      setProgress(null);
    }
  };
  return progress === null ? (
    <button type="button" class="button" title={auditWords.export.hint(MOST_EXPORTED)} onClick={() => void run()}>
      {auditWords.export.button}
    </button>
  ) : (
    <>
      <span class="muted" role="status">
        {auditWords.export.progress(progress)}
      </span>
      <button type="button" class="button" onClick={() => leaving.current?.abort(new Error('cancelled'))}>
        {commonWords.cancel}
      </button>
    </>
  );
}

interface EntriesProps {
  readonly entries: readonly AuditEntryView[];
  /** Told which actions are among them, to suggest them. */
  readonly onActions: (actions: readonly string[]) => void;
}

function Entries({ entries, onActions }: EntriesProps): JSX.Element {
  useEffect(() => {
    const actions = entries.map(({ action }) => action);
    onActions([...new Set([...actions, ...actions.map((each) => each.split('.', 1)[0] ?? each)])].sort());
  }, [entries]);
  const { columns } = auditWords;
  return (
    <Table
      caption={auditWords.caption}
      columns={[columns.action, columns.outcome, columns.time, commonWords.user, columns.object, columns.address]}
    >
      {entries.map((entry) => (
        <Row key={entry.id} entry={entry} />
      ))}
    </Table>
  );
}

function Row({ entry }: { readonly entry: AuditEntryView }): JSX.Element {
  const { action, outcome, user_id, container_id, target_id, address: from, detail } = entry;
  const look = outcome === 'ok' ? 'ok' : outcome === 'pending' ? 'creating' : 'error';
  const target = container_id ?? target_id;
  const short = target?.replace('agent:', '').slice(0, 8) ?? '–';
  return (
    <tr>
      <td>
        <div class="two">
          <span>{action}</span>
          {detail && (
            <span class="small muted wrap-anywhere">
              {detail.program}
              {detail.bytes !== null && ` ${bytes(detail.bytes)}`}
            </span>
          )}
        </div>
      </td>
      <td>
        <Status of={look} word={outcome === 'ok' ? auditWords.outcomes.ok : outcome.replaceAll('_', ' ')} />
      </td>
      <td class="muted nowrap">{at(entry.at)}</td>
      <td class="muted" data-name={auditWords.cells.user}>
        {user_id === null ? (
          auditWords.server
        ) : (
          <FilterLink
            label={auditWords.onlyUser(nameOf(user_id))}
            to={{ user: knownName(user_id) ?? user_id }}
            words={nameOf(user_id)}
          />
        )}
      </td>
      <td class="muted mono" title={target ?? undefined}>
        {container_id === null ? (
          short
        ) : (
          <FilterLink label={auditWords.onlyContainer(short)} to={{ container: container_id }} words={short} />
        )}
      </td>
      <td class="muted mono">{from ?? '–'}</td>
    </tr>
  );
}

interface FilterLinkProps {
  readonly label: string;
  readonly to: Readonly<Record<string, string>>;
  readonly words: string;
}

function FilterLink({ label, to, words }: FilterLinkProps): JSX.Element {
  return (
    <button type="button" class="linklike" title={label} onClick={() => replaceQuery(to)}>
      {words}
    </button>
  );
}

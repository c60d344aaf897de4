import type { AnyContainerView, ListedStatus, NodeView } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { eachAtOnce } from '../data/at-once';
import { berth } from '../data/berth';
import { count, counted, shortImage } from '../data/format';
import { hasNodes, nameOf, readUserNames } from '../data/server';
import { inWords, reasonInWords } from '../words/errors';
import { address, navigate, replaceQuery } from '../router';
import { ask, Dialog } from '../ui/dialog';
import { Menu, type MenuItem } from '../ui/menu';
import { Paged } from '../ui/paged';
import { Ago, Empty, Field, PageHead, Status, Table, WorkButton } from '../ui/parts';
import { ResourceAmounts } from '../ui/resources';
import { SearchBox } from '../ui/search-box';
import { say, sayFault } from '../ui/toasts';

const FILTERS: readonly (readonly [ListedStatus | '', string])[] = [
  ['', 'All'],
  ['running', 'Running'],
  ['paused', 'Paused'],
  ['stopped', 'Stopped'],
  ['error', 'Error'],
  ['deleted', 'Deleted'],
];

/** How many containers of a selection are changed at once. */
const AT_ONCE = 4;

const mayStart = ({ status }: AnyContainerView): boolean => ['stopped', 'error', 'paused'].includes(status);
const mayStop = ({ status }: AnyContainerView): boolean => status === 'running' || status === 'paused';
const isLive = ({ status }: AnyContainerView): boolean => status !== 'deleted' && status !== 'creating';

/** All users' containers, for administrators, who do not see into them. */
export function AdminContainers(): JSX.Element {
  const { query } = address.value;
  const asked = (name: string): string => query.get(name) ?? '';
  const [user, search, node] = [asked('user'), asked('search'), asked('node')];
  const status = FILTERS.find(([each]) => each === query.get('status'))?.[0] ?? '';
  const [round, setRound] = useState(0);
  const [nodes, setNodes] = useState<readonly NodeView[]>([]);
  const [selected, setSelected] = useState<ReadonlyMap<string, AnyContainerView>>(new Map());
  const [moving, setMoving] = useState<readonly AnyContainerView[] | null>(null);
  const filter = JSON.stringify([status, user, search, node]);
  const onChange = (): void => {
    setSelected(new Map());
    setRound((before) => before + 1);
  };
  useEffect(() => void readUserNames(), [round]);
  useEffect(() => setSelected(new Map()), [filter]);
  useEffect(() => {
    if (hasNodes.value) berth.admin.nodes().then(setNodes, sayFault);
  }, [hasNodes.value]);
  const actions: Actions = { onChange, onMove: setMoving };
  return (
    <>
      <PageHead title="All containers" aside={<span class="muted">Of all users, the newest first</span>}>
        <button type="button" class="button" onClick={onChange}>
          Reload
        </button>
      </PageHead>
      <div class="toolbar" role="search">
        <SearchBox
          label="Search by name, user, image or node"
          value={search}
          onValue={(text) => replaceQuery({ search: text })}
        />
        <div class="segments" role="group" aria-label="Filter by status">
          {FILTERS.map(([value, name]) => (
            <button
              key={value}
              type="button"
              aria-pressed={status === value}
              onClick={() => replaceQuery({ status: value })}
            >
              {name}
            </button>
          ))}
        </div>
        {nodes.length > 0 && (
          <select
            class="input tier-filter"
            aria-label="Node"
            value={node}
            onChange={(event) => replaceQuery({ node: event.currentTarget.value })}
          >
            <option value="">All nodes</option>
            {nodes.map(({ id, name }) => (
              <option key={id} value={name}>
                {name}
              </option>
            ))}
          </select>
        )}
        {user !== '' && (
          <button type="button" class="button slim" onClick={() => replaceQuery({ user: '' })}>
            Only of {nameOf(user)}: show all
          </button>
        )}
      </div>
      <Paged
        list={() =>
          berth.admin.containers({
            limit: 50,
            ...(status !== '' && { status }),
            ...(user !== '' && { user_id: user }),
            ...(search !== '' && { search }),
            ...(node !== '' && { node }),
          })
        }
        of={`${filter} ${String(round)}`}
        empty={<Empty title="No container matches" />}
      >
        {(containers) => (
          <>
            {status !== 'deleted' && (
              <SelectionBar all={containers.filter(isLive)} selected={selected} onSelect={setSelected} {...actions} />
            )}
            <Table caption="Containers" columns={['Name', 'Status', 'Image', 'Resources', 'Last used']} hasActions>
              {containers.map((container) => (
                <Row
                  key={container.db_id}
                  container={container}
                  isSelected={selected.has(container.db_id)}
                  onSelect={(isSelected) => setSelected(changed(selected, container, isSelected))}
                  {...actions}
                />
              ))}
            </Table>
          </>
        )}
      </Paged>
      {moving && <MoveDialog containers={moving} onClose={() => setMoving(null)} onChange={onChange} />}
    </>
  );
}

function changed(
  selected: ReadonlyMap<string, AnyContainerView>,
  container: AnyContainerView,
  isSelected: boolean,
): ReadonlyMap<string, AnyContainerView> {
  const next = new Map(selected);
  if (isSelected) next.set(container.db_id, container);
  else next.delete(container.db_id);
  return next;
}

interface Actions {
  readonly onChange: () => void;
  readonly onMove: (containers: readonly AnyContainerView[]) => void;
}

/** A change of one or several containers, and the words for it. */
interface Verb {
  readonly name: string;
  /** What has happened to “web”, or to 3 containers. */
  readonly done: string;
  readonly run: (container: AnyContainerView) => Promise<unknown>;
}

const START: Verb = { name: 'Start', done: 'started', run: ({ db_id }) => berth.admin.startContainer(db_id) };
const STOP: Verb = { name: 'Stop', done: 'stopped', run: ({ db_id }) => berth.admin.stopContainer(db_id) };
const DELETE: Verb = { name: 'Delete', done: 'deleted', run: ({ db_id }) => berth.admin.deleteContainer(db_id) };

/** Changes all of them, a few at a time, and says how many were changed and why others were not. */
async function apply({ done, run }: Verb, containers: readonly AnyContainerView[]): Promise<void> {
  const faults: (readonly [AnyContainerView, unknown])[] = [];
  await eachAtOnce(containers, AT_ONCE, async (container) => {
    await run(container).catch((error: unknown) => faults.push([container, error]));
  });
  const changedCount = containers.length - faults.length;
  if (changedCount > 0) {
    const [first] = containers;
    say(`${containers.length === 1 && first ? `“${first.name}”` : counted(changedCount, 'container')} ${done}.`);
  }
  const [fault] = faults;
  if (!fault) return;
  const more = faults.length === 1 ? '' : ` ${count(faults.length - 1)} more could not be ${done}.`;
  sayFault(new Error(`“${fault[0].name}” could not be ${done}: ${inWords(fault[1])}${more}`));
}

const nameAll = (containers: readonly AnyContainerView[]): string =>
  containers.length === 1 ? `“${containers[0]?.name ?? ''}”` : counted(containers.length, 'container');

function askTo(verb: Verb, containers: readonly AnyContainerView[], { onChange }: Pick<Actions, 'onChange'>): void {
  const [them, users] = containers.length === 1 ? ['it', 'its user'] : ['them', 'their users'];
  const stopped = `All programs in ${them} end. The data is kept.`;
  const deleted = `All programs in ${them} end. For a while, ${users} can restore ${them}.`;
  ask({
    title: `${verb.name} ${nameAll(containers)}?`,
    text: verb === STOP ? stopped : deleted,
    action: verb.name,
    run: async () => {
      await apply(verb, containers);
      onChange();
    },
  });
}

interface SelectionBarProps extends Actions {
  /** Those on the page that can be selected. */
  readonly all: readonly AnyContainerView[];
  readonly selected: ReadonlyMap<string, AnyContainerView>;
  readonly onSelect: (selected: ReadonlyMap<string, AnyContainerView>) => void;
}

/** Selects all that are shown, and changes those that are selected. */
function SelectionBar({ all, selected, onSelect, onChange, onMove }: SelectionBarProps): JSX.Element {
  const chosen = [...selected.values()];
  const [startable, stoppable] = [chosen.filter(mayStart), chosen.filter(mayStop)];
  const isAll = all.length > 0 && all.every(({ db_id }) => selected.has(db_id));
  return (
    <div class="selection" role="group" aria-label="Selection">
      <label>
        <input
          type="checkbox"
          checked={isAll}
          indeterminate={!isAll && chosen.length > 0}
          disabled={all.length === 0}
          onChange={() => onSelect(isAll ? new Map() : new Map(all.map((each) => [each.db_id, each])))}
        />
        {chosen.length === 0 ? 'Select all' : `${count(chosen.length)} selected`}
      </label>
      {chosen.length > 0 && (
        <>
          {startable.length > 0 && (
            <WorkButton class="button slim" run={() => apply(START, startable).then(onChange)}>
              Start {count(startable.length)}
            </WorkButton>
          )}
          {stoppable.length > 0 && (
            <button type="button" class="button slim" onClick={() => askTo(STOP, stoppable, { onChange })}>
              Stop {count(stoppable.length)}
            </button>
          )}
          {hasNodes.value && (
            <button type="button" class="button slim" onClick={() => onMove(chosen)}>
              Move…
            </button>
          )}
          <button type="button" class="button slim danger" onClick={() => askTo(DELETE, chosen, { onChange })}>
            Delete
          </button>
          <button type="button" class="button quiet slim" onClick={() => onSelect(new Map())}>
            Clear
          </button>
        </>
      )}
    </div>
  );
}

interface RowProps extends Actions {
  readonly container: AnyContainerView;
  readonly isSelected: boolean;
  readonly onSelect: (isSelected: boolean) => void;
}

function Row({ container, isSelected, onSelect, onChange, onMove }: RowProps): JSX.Element {
  const { db_id, name, status, status_reason, image, resources, user_id, last_used_at, node } = container;
  const reason = reasonInWords(status_reason);
  const items: MenuItem[] = [
    { name: 'Containers of this user', run: () => navigate(`/admin/containers?user=${user_id}`) },
    { name: 'Audit of this container', run: () => navigate(`/admin/audit?container=${db_id}`) },
  ];
  if (isLive(container)) {
    if (hasNodes.value) items.push({ name: 'Move to another node', run: () => onMove([container]) });
    items.push({ name: 'Delete', isDangerous: true, run: () => askTo(DELETE, [container], { onChange }) });
  }
  return (
    <tr data-id={db_id}>
      <td>
        <div class="pick">
          {isLive(container) && (
            <input
              type="checkbox"
              aria-label={`Select ${name}`}
              checked={isSelected}
              onChange={(event) => onSelect(event.currentTarget.checked)}
            />
          )}
          <div class="two">
            <strong class="wrap-anywhere">{name}</strong>
            <span class="small muted">
              user {nameOf(user_id)}
              {node !== undefined && ` on ${node}`}
            </span>
          </div>
        </div>
      </td>
      <td>
        <div class="two">
          <Status of={status} />
          {reason !== null && status !== 'running' && <span class="small muted">{reason}</span>}
        </div>
      </td>
      <td class="muted wrap-anywhere">{shortImage(image)}</td>
      <td class="muted nowrap">
        <ResourceAmounts of={resources} />
      </td>
      <td class="muted nowrap" data-name="last used">
        <Ago time={last_used_at} />
      </td>
      <td class="actions-cell">
        <div class="actions">
          {mayStart(container) && (
            <WorkButton
              class="button slim"
              aria-label={`${status === 'paused' ? 'Resume' : 'Start'} ${name}`}
              run={() => apply(START, [container]).then(onChange)}
            >
              {status === 'paused' ? 'Resume' : 'Start'}
            </WorkButton>
          )}
          {mayStop(container) && (
            <button
              type="button"
              class="button slim"
              aria-label={`Stop ${name}`}
              onClick={() => askTo(STOP, [container], { onChange })}
            >
              Stop
            </button>
          )}
          <Menu label={`More for ${name}`} items={items} />
        </div>
      </td>
    </tr>
  );
}

interface MoveDialogProps {
  readonly containers: readonly AnyContainerView[];
  readonly onClose: () => void;
  readonly onChange: () => void;
}

/** Asks where to move containers, and moves them in the background: a move takes as long as the data is large. */
function MoveDialog({ containers, onClose, onChange }: MoveDialogProps): JSX.Element {
  const [nodes, setNodes] = useState<readonly NodeView[]>([]);
  const [target, setTarget] = useState('');
  useEffect(() => {
    berth.admin.nodes().then(setNodes, sayFault);
  }, []);
  const here = new Set(containers.map(({ node }) => node));
  const offered = nodes.filter(
    ({ name, state, availability, problem }) =>
      state === 'reachable' && availability === 'active' && problem === null && !(here.size === 1 && here.has(name)),
  );
  const move = (): void => {
    say(`${nameAll(containers)} ${containers.length === 1 ? 'is' : 'are'} being moved.`);
    const names = new Map<string, string>();
    const verb: Verb = {
      name: 'Move',
      done: 'moved',
      run: async ({ db_id }) => {
        const moved = await berth.admin.moveContainer(db_id, target === '' ? {} : { node: target });
        names.set(db_id, moved.node);
      },
    };
    const [only] = containers;
    if (containers.length > 1 || !only) {
      void apply(verb, containers).then(onChange);
      return;
    }
    verb.run(only).then(() => {
      say(`“${only.name}” is on ${names.get(only.db_id) ?? 'another node'} now.`);
      onChange();
    }, sayFault);
  };
  return (
    <Dialog title={`Move ${nameAll(containers)}`} action="Move" onClose={onClose} onSubmit={move}>
      <p>
        The data moves too. Programs that run are stopped while the data is copied, and the container is started again
        on the other node. Only <code>/home/user</code> and installed roles are there afterwards.
      </p>
      <Field label="To" hint="Active nodes. A container stays in the node pool of its user’s tier.">
        {(of) => (
          <select {...of} class="input" value={target} onChange={(event) => setTarget(event.currentTarget.value)}>
            <option value="">The node with the most room</option>
            {offered.map(({ id, name, pool, containers: there }) => (
              <option key={id} value={name}>
                {name} (pool {pool}, {counted(there, 'container')})
              </option>
            ))}
          </select>
        )}
      </Field>
    </Dialog>
  );
}

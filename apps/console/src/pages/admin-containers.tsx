import type { AnyContainerView, ListedStatus, NodeView } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { eachAtOnce } from '../data/at-once';
import { berth } from '../data/berth';
import { shortImage } from '../words/format';
import { hasNodes, nameOf, readUserNames } from '../data/server';
import { address, navigate, replaceQuery } from '../router';
import { ask, Dialog } from '../ui/dialog';
import { Menu, type MenuItem } from '../ui/menu';
import { Paged, useRounds } from '../ui/paged';
import { Ago, Empty, Field, PageHead, Status, Table, WorkButton } from '../ui/parts';
import { ResourceAmounts } from '../ui/resources';
import { SearchBox } from '../ui/search-box';
import { say, sayFault } from '../ui/toasts';
import { adminContainerWords, type Those } from '../words/admin-containers';
import { commonWords } from '../words/common';
import { inWords, reasonInWords } from '../words/errors';

const FILTERS: readonly (readonly [ListedStatus | '', string])[] = [
  ['', adminContainerWords.statuses.all],
  ['running', adminContainerWords.statuses.running],
  ['paused', adminContainerWords.statuses.paused],
  ['stopped', adminContainerWords.statuses.stopped],
  ['error', adminContainerWords.statuses.error],
  ['deleted', adminContainerWords.statuses.deleted],
];

/** The folder of a container whose content is kept. */
const HOME = '/home/user';

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
  const rounds = useRounds();
  const [nodes, setNodes] = useState<readonly NodeView[]>([]);
  const [selected, setSelected] = useState<ReadonlyMap<string, AnyContainerView>>(new Map());
  const [moving, setMoving] = useState<readonly AnyContainerView[] | null>(null);
  const filter = JSON.stringify([status, user, search, node]);
  const onChange = (): Promise<void> => {
    setSelected(new Map());
    return rounds.next();
  };
  useEffect(() => void readUserNames(), [rounds.current]);
  useEffect(() => setSelected(new Map()), [filter]);
  useEffect(() => {
    if (hasNodes.value) berth.admin.nodes().then(setNodes, sayFault);
  }, [hasNodes.value]);
  const actions: Actions = { onChange: () => void onChange(), onMove: setMoving };
  return (
    <>
      <PageHead title={adminContainerWords.title} aside={<span class="muted">{adminContainerWords.about}</span>}>
        <WorkButton run={onChange}>{commonWords.reload}</WorkButton>
      </PageHead>
      <div class="toolbar" role="search">
        <SearchBox
          label={adminContainerWords.search}
          value={search}
          onValue={(text) => replaceQuery({ search: text })}
        />
        <div class="segments" role="group" aria-label={adminContainerWords.filter}>
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
            aria-label={adminContainerWords.node}
            value={node}
            onChange={(event) => replaceQuery({ node: event.currentTarget.value })}
          >
            <option value="">{adminContainerWords.allNodes}</option>
            {nodes.map(({ id, name }) => (
              <option key={id} value={name}>
                {name}
              </option>
            ))}
          </select>
        )}
        {user !== '' && (
          <button type="button" class="button slim" onClick={() => replaceQuery({ user: '' })}>
            {adminContainerWords.onlyUser(nameOf(user))}
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
        of={filter}
        rounds={rounds}
        empty={<Empty title={adminContainerWords.empty} />}
      >
        {(containers) => (
          <>
            {status !== 'deleted' && (
              <SelectionBar all={containers.filter(isLive)} selected={selected} onSelect={setSelected} {...actions} />
            )}
            <Table
              caption={adminContainerWords.caption}
              columns={[
                commonWords.name,
                commonWords.status,
                commonWords.image,
                adminContainerWords.columns.resources,
                adminContainerWords.columns.lastUsed,
              ]}
              hasActions
            >
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
      {moving && <MoveDialog containers={moving} onClose={() => setMoving(null)} onChange={actions.onChange} />}
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
  readonly words: Pick<typeof adminContainerWords.start, 'done' | 'failed' | 'moreFailed'>;
  readonly run: (container: AnyContainerView) => Promise<unknown>;
}

/** A change that is asked for before. */
interface AskedVerb extends Verb {
  readonly name: string;
  readonly words: Verb['words'] & Pick<typeof adminContainerWords.stop, 'question' | 'effect'>;
}

const START: Verb = {
  words: adminContainerWords.start,
  run: ({ db_id }) => berth.admin.startContainer(db_id),
};
const STOP: AskedVerb = {
  name: commonWords.stop,
  words: adminContainerWords.stop,
  run: ({ db_id }) => berth.admin.stopContainer(db_id),
};
const DELETE: AskedVerb = {
  name: commonWords.delete,
  words: adminContainerWords.delete,
  run: ({ db_id }) => berth.admin.deleteContainer(db_id),
};

/** How the words name containers: a single one by its name, several by their number. */
const those = (containers: readonly AnyContainerView[], count = containers.length): Those => ({
  only: containers.length === 1 ? (containers[0]?.name ?? '') : null,
  count,
});

/** Changes all of them, a few at a time, and says how many were changed and why others were not. */
async function apply({ words, run }: Verb, containers: readonly AnyContainerView[]): Promise<void> {
  const faults: (readonly [AnyContainerView, unknown])[] = [];
  await eachAtOnce(containers, AT_ONCE, async (container) => {
    await run(container).catch((error: unknown) => faults.push([container, error]));
  });
  const changedCount = containers.length - faults.length;
  if (changedCount > 0) say(words.done(those(containers, changedCount)));
  const [fault] = faults;
  if (!fault) return;
  const failed = words.failed({ name: fault[0].name, why: inWords(fault[1]) });
  sayFault(new Error(faults.length === 1 ? failed : `${failed} ${words.moreFailed(faults.length - 1)}`));
}

function askTo(
  verb: AskedVerb,
  containers: readonly AnyContainerView[],
  { onChange }: Pick<Actions, 'onChange'>,
): void {
  ask({
    title: verb.words.question(those(containers)),
    text: verb.words.effect(those(containers)),
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
    <div class="selection" role="group" aria-label={adminContainerWords.selection.label}>
      <label>
        <input
          type="checkbox"
          checked={isAll}
          indeterminate={!isAll && chosen.length > 0}
          disabled={all.length === 0}
          onChange={() => onSelect(isAll ? new Map() : new Map(all.map((each) => [each.db_id, each])))}
        />
        {chosen.length === 0 ? adminContainerWords.selection.all : adminContainerWords.selection.some(chosen.length)}
      </label>
      {chosen.length > 0 && (
        <>
          {startable.length > 0 && (
            <WorkButton class="button slim" run={() => apply(START, startable).then(onChange)}>
              {adminContainerWords.selection.start(startable.length)}
            </WorkButton>
          )}
          {stoppable.length > 0 && (
            <button type="button" class="button slim" onClick={() => askTo(STOP, stoppable, { onChange })}>
              {adminContainerWords.selection.stop(stoppable.length)}
            </button>
          )}
          {hasNodes.value && (
            <button type="button" class="button slim" onClick={() => onMove(chosen)}>
              {adminContainerWords.selection.move}
            </button>
          )}
          <button type="button" class="button slim danger" onClick={() => askTo(DELETE, chosen, { onChange })}>
            {commonWords.delete}
          </button>
          <button type="button" class="button quiet slim" onClick={() => onSelect(new Map())}>
            {adminContainerWords.selection.clear}
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
    { name: adminContainerWords.ofUser, run: () => navigate(`/admin/containers?user=${user_id}`) },
    { name: adminContainerWords.audit, run: () => navigate(`/admin/audit?container=${db_id}`) },
  ];
  if (isLive(container)) {
    if (hasNodes.value) items.push({ name: adminContainerWords.move.item, run: () => onMove([container]) });
    items.push({ name: commonWords.delete, isDangerous: true, run: () => askTo(DELETE, [container], { onChange }) });
  }
  return (
    <tr data-id={db_id}>
      <td>
        <div class="pick">
          {isLive(container) && (
            <input
              type="checkbox"
              aria-label={adminContainerWords.select(name)}
              checked={isSelected}
              onChange={(event) => onSelect(event.currentTarget.checked)}
            />
          )}
          <div class="two">
            <strong class="wrap-anywhere">{name}</strong>
            <span class="small muted">{adminContainerWords.owner({ user: nameOf(user_id), node })}</span>
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
      <td class="muted nowrap" data-name={adminContainerWords.cells.lastUsed}>
        <Ago time={last_used_at} />
      </td>
      <td class="actions-cell">
        <div class="actions">
          {mayStart(container) && (
            <WorkButton
              class="button slim"
              aria-label={
                status === 'paused' ? adminContainerWords.resumeOne(name) : adminContainerWords.start.one(name)
              }
              run={() => apply(START, [container]).then(onChange)}
            >
              {status === 'paused' ? adminContainerWords.resume : commonWords.start}
            </WorkButton>
          )}
          {mayStop(container) && (
            <button
              type="button"
              class="button slim"
              aria-label={adminContainerWords.stop.one(name)}
              onClick={() => askTo(STOP, [container], { onChange })}
            >
              {commonWords.stop}
            </button>
          )}
          <Menu label={adminContainerWords.moreFor(name)} items={items} />
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
    say(adminContainerWords.move.begun(those(containers)));
    const names = new Map<string, string>();
    const verb: Verb = {
      words: adminContainerWords.move,
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
      say(adminContainerWords.move.isOn({ name: only.name, node: names.get(only.db_id) }));
      onChange();
    }, sayFault);
  };
  return (
    <Dialog
      title={adminContainerWords.move.title(those(containers))}
      action={adminContainerWords.move.action}
      onClose={onClose}
      onSubmit={move}
    >
      <p>{adminContainerWords.move.effect(<code>{HOME}</code>)}</p>
      <Field label={adminContainerWords.move.target} hint={adminContainerWords.move.targetHint}>
        {(of) => (
          <select {...of} class="input" value={target} onChange={(event) => setTarget(event.currentTarget.value)}>
            <option value="">{adminContainerWords.move.anyNode}</option>
            {offered.map(({ id, name, pool, containers: there }) => (
              <option key={id} value={name}>
                {adminContainerWords.move.node({ name, pool, containers: there })}
              </option>
            ))}
          </select>
        )}
      </Field>
    </Dialog>
  );
}

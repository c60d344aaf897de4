import type { PatchContainerDto } from '@berth/client';
import type { JSX } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { readPairs } from '../data/container-draft';
import type { Container } from '../data/live';
import {
  type Action,
  clearSelection,
  failures,
  forEach,
  progress,
  selectedShown,
  selection,
  selectOnly,
} from '../data/selection';
import { bringBack, isUp, restart } from '../ui/verbs';
import { ask, Dialog } from '../ui/dialog';
import { CrossIcon } from '../ui/icons';
import { LinesField, Meter } from '../ui/parts';
import { say } from '../ui/toasts';
import { commonWords } from '../words/common';
import { selectionWords } from '../words/selection-bar';

const { actions } = selectionWords;
const START: Action = {
  ...actions.start,
  run: ({ db_id, status }) => (status === 'paused' ? berth.containers.resume(db_id) : berth.containers.start(db_id)),
};
const STOP: Action = { ...actions.stop, run: ({ db_id }) => berth.containers.stop(db_id) };
const RESTART: Action = { ...actions.restart, run: restart };
const DELETE: Action = { ...actions.delete, run: ({ db_id }) => berth.containers.delete(db_id) };
const RESTORE: Action = { ...actions.restore, run: bringBack };

const canStart = ({ status }: Container): boolean => status !== 'running' && status !== 'creating';
const canStop = ({ status }: Container): boolean => isUp(status);

/** Says how many it was done with; what failed is shown by {@link ActionFailures}. */
async function run(targets: readonly Container[], action: Action): Promise<void> {
  const outcome = await forEach(targets, action);
  if (outcome && failures.peek() === null) say(outcome.summary);
}

const NAMED = 10;

function namesOf(containers: readonly Container[]): string {
  const names = containers.slice(0, NAMED).map(({ name }) => name);
  return selectionWords.names({ names, left: containers.length - names.length });
}

function askToDelete(targets: readonly Container[]): void {
  ask({
    title: selectionWords.remove.question(targets.length),
    text: selectionWords.remove.hint(namesOf(targets)),
    action: commonWords.delete,
    run: () => {
      void removeAll(targets);
      return Promise.resolve();
    },
  });
}

async function removeAll(targets: readonly Container[]): Promise<void> {
  const { done, summary } = (await forEach(targets, DELETE)) ?? { done: [], summary: '' };
  if (done.length > 0) say(summary, { name: commonWords.undo, run: () => void run(done, RESTORE) });
}

/** What can be done with the selected containers; nothing while none is selected. */
export function SelectionBar(): JSX.Element | null {
  if (selection.value.length === 0 && progress.value === null) return null;
  return <Bar />;
}

function Bar(): JSX.Element {
  const [isLabelling, setLabelling] = useState(false);
  const place = useRef<HTMLElement>(null);
  useLayoutEffect(() => {
    const bar = place.current;
    // The focus would be lost with the button that has it.
    return () => {
      if (bar?.contains(document.activeElement)) document.querySelector<HTMLElement>('h1')?.focus();
    };
  }, []);
  return (
    <section class="selection-bar" aria-label={selectionWords.title} ref={place}>
      {progress.value === null ? <Verbs onLabels={() => setLabelling(true)} /> : <ProgressOfAction />}
      {isLabelling && <LabelsDialog targets={selection.value} onClose={() => setLabelling(false)} />}
    </section>
  );
}

function Verbs({ onLabels }: { readonly onLabels: () => void }): JSX.Element {
  const targets = selection.value;
  const hidden = targets.length - selectedShown.value;
  const [startable, stoppable] = [targets.filter(canStart), targets.filter(canStop)];
  return (
    <>
      <p role="status">
        {selectionWords.selected(targets.length)}
        {hidden > 0 && <span class="muted"> {selectionWords.hidden(hidden)}</span>}
      </p>
      <button type="button" class="button quiet slim" onClick={clearSelection}>
        {selectionWords.clear}
      </button>
      <div class="verbs">
        <Verb name={commonWords.start} of={startable} onClick={() => void run(startable, START)} />
        <Verb name={commonWords.stop} of={stoppable} onClick={() => void run(stoppable, STOP)} />
        <Verb name={commonWords.restart} of={stoppable} onClick={() => void run(stoppable, RESTART)} />
        <Verb name={selectionWords.labels} of={targets} onClick={onLabels} />
        <Verb name={commonWords.delete} of={targets} isDangerous onClick={() => askToDelete(targets)} />
      </div>
    </>
  );
}

interface VerbProps {
  readonly name: string;
  /** Those of the selection that it can be done with. */
  readonly of: readonly Container[];
  readonly isDangerous?: boolean;
  readonly onClick: () => void;
}

function Verb({ name, of, isDangerous = false, onClick }: VerbProps): JSX.Element {
  return (
    <button
      type="button"
      class={`button slim ${isDangerous ? 'danger' : ''}`}
      aria-label={selectionWords.verbFor({ verb: name, count: of.length })}
      disabled={of.length === 0}
      onClick={onClick}
    >
      {name}
      {of.length > 0 && of.length < selection.value.length && <span class="faint"> {of.length}</span>}
    </button>
  );
}

function ProgressOfAction(): JSX.Element | null {
  const { value } = progress;
  if (!value) return null;
  const { ongoing, done, total, cancel } = value;
  return (
    <>
      <p role="status">{selectionWords.progress({ ongoing, done, total })}</p>
      <Meter value={done} max={total} label={selectionWords.progressOf({ ongoing, total })} />
      <button type="button" class="button slim" onClick={cancel}>
        {commonWords.cancel}
      </button>
    </>
  );
}

/** The containers for which the last action failed, with the reasons. */
export function ActionFailures(): JSX.Element | null {
  const { value } = failures;
  if (!value) return null;
  const words = selectionWords.failures;
  const ids = value.reasons.flatMap(({ containers }) => containers.map(({ db_id }) => db_id));
  return (
    <div class="notice bad action-failures" role="alert">
      <div class="grow stack">
        <p>
          {value.summary} {words.title(ids.length)}
        </p>
        <ul>
          {value.reasons.map(({ reason, containers }) => (
            <li key={reason}>{words.of({ names: namesOf(containers), reason })}</li>
          ))}
        </ul>
      </div>
      <button type="button" class="button slim" onClick={() => selectOnly(ids)}>
        {words.select(ids.length)}
      </button>
      <button
        type="button"
        class="button quiet icon"
        aria-label={words.dismiss}
        onClick={() => (failures.value = null)}
      >
        <CrossIcon />
      </button>
    </div>
  );
}

interface LabelsDialogProps {
  readonly targets: readonly Container[];
  readonly onClose: () => void;
}

/** Sets labels of several containers, and removes labels that some of them have. Others stay. */
function LabelsDialog({ targets, onClose }: LabelsDialogProps): JSX.Element {
  const words = selectionWords.labelling;
  const [text, setText] = useState('');
  const [removed, setRemoved] = useState<ReadonlySet<string>>(new Set());
  const counts = new Map<string, number>();
  for (const key of targets.flatMap(({ labels }) => Object.keys(labels))) counts.set(key, (counts.get(key) ?? 0) + 1);
  const keys = [...counts].sort(([one], [other]) => (one < other ? -1 : 1));

  const toggle = (key: string, isOn: boolean): void => {
    const next = new Set(removed);
    if (isOn) next.add(key);
    else next.delete(key);
    setRemoved(next);
  };
  const submit = (): void => {
    const nulls = [...removed].map((key): [string, null] => [key, null]);
    const labels: NonNullable<PatchContainerDto['labels']> = { ...Object.fromEntries(nulls), ...readPairs(text) };
    if (Object.keys(labels).length === 0) throw new Error(words.nothing);
    const action: Action = {
      ...actions.label,
      run: ({ db_id }) => berth.containers.update(db_id, { labels }),
    };
    void run(targets, action);
  };
  return (
    <Dialog title={words.title(targets.length)} action={commonWords.save} onClose={onClose} onSubmit={submit}>
      <LinesField label={words.set} hint={words.setHint} rows={3} value={text} onValue={setText} />
      {keys.length > 0 && (
        <fieldset class="field">
          <legend class="label">{words.remove}</legend>
          <div class="checks">
            {keys.map(([key, count]) => (
              <label key={key} class="check">
                <input
                  type="checkbox"
                  checked={removed.has(key)}
                  onChange={(event) => toggle(key, event.currentTarget.checked)}
                />
                <span class="wrap-anywhere">
                  {key} <span class="muted">({count})</span>
                </span>
              </label>
            ))}
          </div>
        </fieldset>
      )}
    </Dialog>
  );
}

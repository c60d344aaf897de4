import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { maySeeInside } from '../data/access';
import { berth } from '../data/berth';
import type { Container } from '../data/live';
import { commonWords } from '../words/common';
import { variableWords as words } from '../words/variables';
import { ask, Dialog } from '../ui/dialog';
import { LinesField, Shown, TextField, useLoaded, WorkButton } from '../ui/parts';

/** A variable that is added (without a name) or changed. */
interface Draft {
  readonly name?: string;
  readonly value: string;
}

/** The environment variables of a container: their values are read from the server only when they are asked for. */
export function Variables({ container }: { readonly container: Container }): JSX.Element {
  const { db_id: id, updated_at: changedAt } = container;
  const names = useLoaded(() => berth.containers.variables(id), [id, changedAt]);
  const [shown, setShown] = useState<ReadonlyMap<string, string>>(new Map());
  const [draft, setDraft] = useState<Draft | null>(null);

  const hide = (name: string): void => setShown((before) => new Map([...before].filter(([each]) => each !== name)));
  const show = async (name: string): Promise<void> => {
    const value = await berth.containers.variable(id, name);
    setShown((before) => new Map([...before, [name, value]]));
  };
  const set = async (name: string, value: string | null): Promise<void> => {
    await berth.containers.update(id, { env: { [name]: value } });
    hide(name);
    await names.reload();
  };
  const edit = async (name: string): Promise<void> => {
    const value = maySeeInside.value ? await berth.containers.variable(id, name) : '';
    setDraft({ name, value });
  };
  const remove = (name: string): void =>
    ask({
      title: words.remove.title(name),
      text: words.remove.text,
      action: commonWords.delete,
      run: () => set(name, null),
    });

  const row = (name: string): JSX.Element => {
    const value = shown.get(name);
    const labelOf = (verb: string) => words.of({ verb, name });
    return (
      <li key={name}>
        <span class="grow">
          <strong class="mono">{name}</strong>{' '}
          {value === undefined ? (
            <span class="muted" aria-label={words.masked} role="img">
              {words.mask}
            </span>
          ) : value === '' ? (
            <span class="muted">{words.empty}</span>
          ) : (
            <code class="value">{value}</code>
          )}
        </span>
        {maySeeInside.value &&
          (value === undefined ? (
            <WorkButton class="button slim" aria-label={labelOf(words.show)} run={() => show(name)}>
              {words.show}
            </WorkButton>
          ) : (
            <button type="button" class="button slim" aria-label={labelOf(words.hide)} onClick={() => hide(name)}>
              {words.hide}
            </button>
          ))}
        <WorkButton class="button slim" aria-label={labelOf(words.edit)} run={() => edit(name)}>
          {words.edit}
        </WorkButton>
        <button
          type="button"
          class="button slim danger"
          aria-label={labelOf(commonWords.delete)}
          onClick={() => remove(name)}
        >
          {commonWords.delete}
        </button>
      </li>
    );
  };

  return (
    <section class="panel" aria-labelledby="variables">
      <div class="panel-head">
        <h2 id="variables">{words.title}</h2>
        <button type="button" class="button slim" aria-label={words.addTitle} onClick={() => setDraft({ value: '' })}>
          {words.add}
        </button>
      </div>
      <div class="panel-body">
        <Shown of={names}>
          {(all) =>
            all.length === 0 ? <p class="muted">{words.none}</p> : <ul class="listening variables">{all.map(row)}</ul>
          }
        </Shown>
      </div>
      {draft && <VariableDialog draft={draft} onSave={set} onClose={() => setDraft(null)} />}
    </section>
  );
}

interface VariableDialogProps {
  readonly draft: Draft;
  readonly onSave: (name: string, value: string) => Promise<void>;
  readonly onClose: () => void;
}

function VariableDialog({ draft, onSave, onClose }: VariableDialogProps): JSX.Element {
  const [name, setName] = useState(draft.name ?? '');
  const [value, setValue] = useState(draft.value);
  return (
    <Dialog
      title={draft.name === undefined ? words.addTitle : words.editTitle(draft.name)}
      action={commonWords.save}
      onClose={onClose}
      onSubmit={() => onSave(name.trim(), value)}
    >
      <div class="stack">
        {draft.name === undefined && (
          <TextField
            label={commonWords.name}
            isMono
            input={{ autoComplete: 'off', spellcheck: false, required: true }}
            value={name}
            onValue={setName}
          />
        )}
        <LinesField
          label={words.value}
          hint={words.hint}
          autoComplete="off"
          rows={Math.min(8, value.split('\n').length)}
          value={value}
          onValue={setValue}
        />
      </div>
    </Dialog>
  );
}

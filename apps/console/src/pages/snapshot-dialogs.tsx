import type { SnapshotView } from '@berth/client';
import { signal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import { useState } from 'preact/hooks';
import { berth, faultOf } from '../data/berth';
import { type Container, me } from '../data/live';
import { navigate } from '../router';
import { Dialog } from '../ui/dialog';
import type { MenuItem } from '../ui/menu';
import { TextField } from '../ui/parts';
import { say } from '../ui/toasts';
import { commonWords } from '../words/common';
import { snapshotDialogsWords } from '../words/snapshot-dialogs';

type Request =
  | { readonly take: Container }
  | { readonly fork: Container }
  | { readonly restore: Container; readonly to: SnapshotView }
  | { readonly edit: SnapshotView; readonly onSaved: () => void };

const request = signal<Request | null>(null);

const close = (): void => void (request.value = null);

/** Asks for the name of a new snapshot, and makes it. */
export const takeSnapshot = (container: Container): void => void (request.value = { take: container });

/** Asks how many copies of a container to make, and makes them. */
const fork = (container: Container): void => void (request.value = { fork: container });

/** What the menu of a container offers for copies of it. */
export const copyItems = (container: Container): readonly MenuItem[] =>
  container.status === 'creating'
    ? []
    : [
        ...(me.value?.limits.snapshots === 0
          ? []
          : [{ name: snapshotDialogsWords.take.item, run: () => takeSnapshot(container) }]),
        { name: snapshotDialogsWords.fork.action, run: () => fork(container) },
      ];

/** Returns a container to one of its snapshots, once the user has confirmed what becomes of its files. */
export const restoreSnapshot = (container: Container, to: SnapshotView): void =>
  void (request.value = { restore: container, to });

/** Edits the name and the description of a snapshot. @param onSaved called after the change, which emits no event */
export const editSnapshot = (snapshot: SnapshotView, onSaved: () => void): void =>
  void (request.value = { edit: snapshot, onSaved });

/** The dialog of the last call of the functions above. */
export function SnapshotDialogs(): JSX.Element | null {
  const { value } = request;
  if (value === null) return null;
  if ('take' in value) return <TakeDialog container={value.take} />;
  if ('fork' in value) return <ForkDialog container={value.fork} />;
  if ('restore' in value) return <RestoreDialog container={value.restore} snapshot={value.to} />;
  return <EditDialog snapshot={value.edit} onSaved={value.onSaved} />;
}

const isUp = ({ status }: Container): boolean => status === 'running' || status === 'paused';

interface Words {
  readonly name: string;
  readonly description: string;
}

interface WordsDialogProps {
  readonly title: string;
  readonly action: string;
  readonly nameHint?: string;
  readonly before: Words;
  readonly run: (words: Words) => Promise<void>;
  readonly children?: ComponentChildren;
}

function WordsDialog({ title, action, nameHint, before, run, children }: WordsDialogProps): JSX.Element {
  const [words, setWords] = useState(before);
  const [fault, setFault] = useState<unknown>(null);
  const submit = async (): Promise<void> => {
    try {
      await run({ name: words.name.trim(), description: words.description.trim() });
    } catch (error) {
      setFault(error);
      throw error;
    }
  };
  return (
    <Dialog title={title} action={action} onClose={close} onSubmit={submit}>
      {children}
      <TextField
        label={commonWords.name}
        hint={nameHint}
        fault={faultOf(fault, 'name')}
        input={{ maxLength: 64, autoComplete: 'off' }}
        value={words.name}
        onValue={(name) => setWords({ ...words, name })}
      />
      <TextField
        label={commonWords.description}
        fault={faultOf(fault, 'description')}
        input={{ maxLength: 500, autoComplete: 'off', placeholder: snapshotDialogsWords.descriptionExample }}
        value={words.description}
        onValue={(description) => setWords({ ...words, description })}
      />
    </Dialog>
  );
}

function TakeDialog({ container }: { readonly container: Container }): JSX.Element {
  const { db_id } = container;
  const words = snapshotDialogsWords.take;
  return (
    <WordsDialog
      title={words.title(container.name)}
      action={words.action}
      nameHint={words.nameHint}
      before={{ name: '', description: '' }}
      run={async ({ name, description }) => {
        await berth.snapshots.create(db_id, {
          ...(name !== '' && { name }),
          ...(description !== '' && { description }),
        });
        navigate(`/containers/${db_id}#snapshots`);
      }}
    >
      <p>
        {words.hint()}
        {isUp(container) && ` ${snapshotDialogsWords.suspended}`}
      </p>
    </WordsDialog>
  );
}

function EditDialog({ snapshot, onSaved }: { readonly snapshot: SnapshotView; readonly onSaved: () => void }) {
  return (
    <WordsDialog
      title={snapshotDialogsWords.edit.title(snapshot.name)}
      action={commonWords.save}
      nameHint={snapshotDialogsWords.edit.nameHint}
      before={{ name: snapshot.name, description: snapshot.description ?? '' }}
      run={async ({ name, description }) => {
        await berth.snapshots.update(snapshot.id, { name, description: description === '' ? null : description });
        onSaved();
      }}
    />
  );
}

/** As the API takes it: src/containers/dto/snapshots.ts. */
const MAX_COPIES = 10;

function ForkDialog({ container }: { readonly container: Container }): JSX.Element {
  const words = snapshotDialogsWords.fork;
  const [name, setName] = useState('');
  const [count, setCount] = useState('1');
  const [fault, setFault] = useState<unknown>(null);
  const submit = async (): Promise<void> => {
    try {
      const copies = await berth.snapshots.fork(container.db_id, {
        ...(name.trim() !== '' && { name: name.trim() }),
        ...(count !== '1' && { count: Number(count) }),
      });
      const [only] = copies;
      const from = container.name;
      const begun =
        copies.length === 1
          ? words.begun({ name: only?.name ?? '', from })
          : words.severalBegun({ count: copies.length, from });
      say(begun, { name: words.show, run: () => navigate('/') });
    } catch (error) {
      setFault(error);
      throw error;
    }
  };
  return (
    <Dialog title={words.title(container.name)} action={words.action} onClose={close} onSubmit={submit}>
      <p>
        {words.hint}
        {isUp(container) && ` ${snapshotDialogsWords.suspended}`}
      </p>
      <div class="fields">
        <TextField
          label={commonWords.name}
          hint={words.nameHint}
          fault={faultOf(fault, 'name')}
          input={{ maxLength: 64, autoComplete: 'off' }}
          value={name}
          onValue={setName}
        />
        <TextField
          label={words.copies}
          hint={words.copiesHint(MAX_COPIES)}
          fault={faultOf(fault, 'count')}
          input={{ type: 'number', inputMode: 'numeric', min: '1', max: MAX_COPIES }}
          value={count}
          onValue={setCount}
        />
      </div>
    </Dialog>
  );
}

interface RestoreProps {
  readonly container: Container;
  readonly snapshot: SnapshotView;
}

function RestoreDialog({ container, snapshot }: RestoreProps): JSX.Element {
  const words = snapshotDialogsWords.restore;
  const names = { container: container.name, snapshot: snapshot.name };
  const [keep, setKeep] = useState(true);
  const submit = async (): Promise<void> => {
    await berth.snapshots.restore(container.db_id, { snapshot: snapshot.id, keep });
    say(keep ? `${words.done(names)} ${words.kept}` : words.done(names));
  };
  return (
    <Dialog title={words.question(names)} action={words.action} isDangerous={!keep} onClose={close} onSubmit={submit}>
      <p>
        {words.hint}
        {isUp(container) && ` ${words.programsEnd}`}
      </p>
      {!snapshot.root && <p>{words.dataOnly()}</p>}
      <label class="check">
        <input type="checkbox" checked={keep} onChange={(event) => setKeep(event.currentTarget.checked)} />
        <span>{words.keep}</span>
      </label>
      {!keep && <p class="notice warn">{words.lost}</p>}
    </Dialog>
  );
}

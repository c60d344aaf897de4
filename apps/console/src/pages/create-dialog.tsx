import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { CreateContainerDto, ImageView, RoleView, SnapshotView } from '@berth/client';
import { berth, faultOf } from '../data/berth';
import { bytes } from '../data/format';
import { containerById, me } from '../data/live';
import { contentsInWords } from '../data/words';
import { navigate } from '../router';
import { Dialog } from '../ui/dialog';
import { Field, LinesField, TextField } from '../ui/parts';
import {
  type Draft,
  draftOf,
  LabelsField,
  LifetimeFields,
  NetworkField,
  readNetwork,
  readPairs,
  readResources,
  readSeconds,
  readStart,
  ResourceFields,
  StartFields,
} from './container-fields';

/** What a container can be created from. */
interface Catalogue {
  readonly images: readonly ImageView[];
  readonly roles: readonly RoleView[];
  readonly snapshots: readonly SnapshotView[];
}

/** How the value of an option says that it is a snapshot: no image has such a name. */
const SNAPSHOT = 'snapshot:';

interface CreateProps {
  /** A ready snapshot that is filled in. */
  readonly from?: SnapshotView;
  readonly onClose: () => void;
}

/** Asks for a container. It is created in the background, and shown in the list meanwhile. */
export function CreateDialog({ from, onClose }: CreateProps): JSX.Element {
  const limits = me.value?.limits;
  const [draft, setDraft] = useState<Draft>(() => ({
    ...draftOf(undefined, limits),
    ...(from && { disk_mb: String(from.disk_mb) }),
  }));
  const set = (change: Partial<Draft>): void => setDraft((before) => ({ ...before, ...change }));
  const [name, setName] = useState('');
  const [image, setImage] = useState(from ? SNAPSHOT + from.id : '');
  const [customImage, setCustomImage] = useState('');
  /** Empty: that of the snapshot. */
  const [role, setRole] = useState(from ? '' : 'barebone');
  const [env, setEnv] = useState('');
  const [fault, setFault] = useState<unknown>(null);
  const [{ images, roles, snapshots }, setCatalogue] = useState<Catalogue>({
    images: [],
    roles: [],
    snapshots: from ? [from] : [],
  });
  const snapshot = snapshots.find(({ id }) => image === SNAPSHOT + id);
  // One for the dialog, and another one for what is asked otherwise after a refusal.
  const key = useRef(crypto.randomUUID());

  // A user who submits before the catalogue is loaded still gets its first image.
  const catalogue = useRef<Promise<string>>(Promise.resolve(''));
  useEffect(() => {
    const load = async (): Promise<string> => {
      const [found, offered, taken] = await Promise.all([
        berth.account.images(),
        berth.account.roles(),
        berth.snapshots.list({ limit: 200 }).page(),
      ]);
      const ready = taken.items.filter(({ id, status }) => status === 'ready' && id !== from?.id);
      setCatalogue({ images: found, roles: offered, snapshots: from ? [from, ...ready] : ready });
      const first = found.find((each) => each.default)?.name ?? found[0]?.name ?? 'custom';
      setImage((before) => (before === '' ? first : before));
      return first;
    };
    catalogue.current = load();
    catalogue.current.catch(() => undefined);
  }, []);

  const select = (next: string): void => {
    setImage(next);
    const chosen = snapshots.find(({ id }) => next === SNAPSHOT + id);
    if (chosen) set({ disk_mb: String(chosen.disk_mb) });
    if ((role === '') !== (chosen !== undefined)) setRole(chosen ? '' : 'barebone');
  };

  const submit = async (): Promise<void> => {
    const stop = readSeconds(draft.auto_stop_minutes, 60);
    const end = readSeconds(draft.auto_delete_hours, 3600);
    const start = readStart(draft);
    const labels = readPairs(draft.labels);
    const variables = readPairs(env);
    const wanted: CreateContainerDto = {
      ...(snapshot ? { snapshot: snapshot.id } : { image: image === '' ? await catalogue.current : image }),
      ...(image === 'custom' && { custom_image: customImage.trim() }),
      ...(name.trim() !== '' && { name: name.trim() }),
      ...(role !== (snapshot ? '' : 'barebone') && { role }),
      ...readResources(draft),
      ...(Object.keys(labels).length > 0 && { labels }),
      ...(Object.keys(variables).length > 0 && { env: variables }),
      ...(limits && draft.network !== limits.network && { network: readNetwork(draft) }),
      ...(stop !== null && { auto_stop_seconds: stop }),
      ...(draft.idle_action !== '' && { idle_action: draft.idle_action }),
      ...(end !== null && { auto_delete_seconds: end }),
      ...(start && { start }),
    };
    try {
      const { db_id } = await berth.containers.create(wanted, { idempotencyKey: key.current });
      if (from) navigate(`/containers/${db_id}`);
    } catch (error) {
      setFault(error);
      key.current = crypto.randomUUID();
      throw error;
    }
  };

  const fields = { draft, set, fault, limits };
  return (
    <Dialog title="New container" action="Create" onClose={onClose} onSubmit={submit}>
      <div class="fields">
        <TextField
          label="Name"
          hint="Letters, digits and “-”. Empty for a made-up one."
          fault={faultOf(fault, 'name')}
          input={{ maxLength: 64, autoComplete: 'off' }}
          value={name}
          onValue={setName}
        />
        <Field
          label="Start from"
          hint={snapshot ? hintOf(snapshot) : images.find((each) => each.name === image)?.description}
          fault={faultOf(fault, 'image') ?? faultOf(fault, 'snapshot')}
        >
          {(of) => (
            <select {...of} class="input" value={image} onChange={(event) => select(event.currentTarget.value)}>
              <optgroup label="Images">
                {images.map((each) => (
                  <option key={each.name} value={each.name}>
                    {each.name}
                  </option>
                ))}
                <option value="custom">Another image…</option>
              </optgroup>
              {snapshots.length > 0 && (
                <optgroup label="Snapshots">
                  {snapshots.map(({ id, name: of }) => (
                    <option key={id} value={SNAPSHOT + id}>
                      {of}
                    </option>
                  ))}
                </optgroup>
              )}
            </select>
          )}
        </Field>
      </div>
      {image === 'custom' && (
        <TextField
          label="Image reference"
          hint="As docker pull takes it: python:3.13-slim"
          fault={faultOf(fault, 'custom_image')}
          isMono
          input={{ spellcheck: false }}
          value={customImage}
          onValue={setCustomImage}
        />
      )}
      <ResourceFields {...fields} />
      <Field
        label="Role"
        hint={
          roles.find((each) => each.name === (role === '' ? snapshot?.role : role))?.description ??
          'Software that is installed once it runs.'
        }
        fault={faultOf(fault, 'role')}
      >
        {(of) => (
          <select {...of} class="input" value={role} onChange={(event) => setRole(event.currentTarget.value)}>
            {snapshot && <option value="">As in the snapshot: {snapshot.role ?? 'barebone'}</option>}
            {roles.some((each) => each.name === 'barebone') || <option value="barebone">barebone</option>}
            {roles.map((each) => (
              <option key={each.name} value={each.name}>
                {each.name}
              </option>
            ))}
          </select>
        )}
      </Field>
      <details class="more">
        <summary>Network, lifetime, labels, variables, start command</summary>
        <div class="stack">
          <NetworkField {...fields} />
          <LifetimeFields {...fields} />
          <LabelsField {...fields} />
          <LinesField
            label="Environment variables"
            hint="One a line: KEY=value. Encrypted, and shown to nobody."
            fault={faultOf(fault, 'env')}
            rows={2}
            autoComplete="off"
            value={env}
            onValue={setEnv}
          />
          <StartFields {...fields} />
        </div>
      </details>
    </Dialog>
  );
}

/** What a container from a snapshot begins with. */
function hintOf(snapshot: SnapshotView): string {
  const container = containerById(snapshot.container_id);
  const of = container ? ` of “${container.name}”` : '';
  return `${contentsInWords(snapshot)}${of}, ${bytes(snapshot.bytes)}`;
}

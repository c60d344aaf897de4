import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { CreateContainerDto, ImageView, LimitsView, RoleView, SnapshotView } from '@berth/client';
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
  readGivenResources,
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
    ...standardsOf({ snapshot: from }, limits),
  }));
  const set = (change: Partial<Draft>): void => setDraft((before) => ({ ...before, ...change }));
  const [name, setName] = useState('');
  const [image, setImage] = useState(from ? SNAPSHOT + from.id : '');
  const [customImage, setCustomImage] = useState('');
  /** Empty: that of the snapshot or the template. */
  const [role, setRole] = useState(from ? '' : 'barebone');
  const [env, setEnv] = useState('');
  const [fault, setFault] = useState<unknown>(null);
  const [{ images, roles, snapshots }, setCatalogue] = useState<Catalogue>({
    images: [],
    roles: [],
    snapshots: from ? [from] : [],
  });
  const originOf = (value: string): Origin => ({
    snapshot: snapshots.find(({ id }) => value === SNAPSHOT + id),
    template: images.find(({ name: each }) => value === each)?.template,
  });
  const { snapshot, template } = originOf(image);
  const hasOrigin = snapshot !== undefined || template != null;
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
    const origin = originOf(next);
    const willHaveOrigin = origin.snapshot !== undefined || origin.template != null;
    if (!hasOrigin && !willHaveOrigin) return;
    set(standardsOf(origin, limits));
    setRole(willHaveOrigin ? '' : 'barebone');
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
      ...(role !== (hasOrigin ? '' : 'barebone') && { role }),
      ...readGivenResources(draft),
      ...(Object.keys(labels).length > 0 && { labels }),
      ...(Object.keys(variables).length > 0 && { env: variables }),
      ...(draft.network !== (template ? '' : limits?.network) && { network: readNetwork(draft) }),
      ...(stop !== null && { auto_stop_seconds: stop }),
      ...(draft.idle_action !== '' && { idle_action: draft.idle_action }),
      ...(end !== null && { auto_delete_seconds: end }),
      ...(draft.auto_start && { auto_start: true }),
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

  const fields = { draft, set, fault, limits, unset: template ? 'As in the template' : undefined };
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
          hint={snapshot ? hintOf(snapshot) : imageHintOf(images.find((each) => each.name === image))}
          fault={faultOf(fault, 'image') ?? faultOf(fault, 'snapshot')}
        >
          {(of) => (
            <select {...of} class="input" value={image} onChange={(event) => select(event.currentTarget.value)}>
              <optgroup label="Images">
                {options(images.filter((each) => each.template === null))}
                <option value="custom">Another image…</option>
              </optgroup>
              {images.some((each) => each.template !== null) && (
                <optgroup label="Templates">{options(images.filter((each) => each.template !== null))}</optgroup>
              )}
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
          roles.find((each) => each.name === (role === '' ? (snapshot ?? template)?.role : role))?.description ??
          'Software that is installed once it runs.'
        }
        fault={faultOf(fault, 'role')}
      >
        {(of) => (
          <select {...of} class="input" value={role} onChange={(event) => setRole(event.currentTarget.value)}>
            {snapshot && <option value="">As in the snapshot: {snapshot.role ?? 'barebone'}</option>}
            {template && <option value="">As in the template: {template.role ?? 'barebone'}</option>}
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

/** What a creation begins with, besides an image of the catalogue. */
interface Origin {
  readonly snapshot?: SnapshotView | undefined;
  readonly template?: ImageView['template'] | undefined;
}

/** The sizes and the network that a form of a creation begins with. Empty ones are left to the server. */
function standardsOf(
  { snapshot, template }: Origin,
  limits: LimitsView | undefined,
): Pick<Draft, 'memory_mb' | 'cpu_shares' | 'disk_mb' | 'network'> {
  const { memory_mb, cpu_shares, disk_mb, network } = draftOf(undefined, limits);
  const usual = { memory_mb, cpu_shares, disk_mb, network };
  if (snapshot) return { ...usual, disk_mb: String(snapshot.disk_mb) };
  if (!template) return usual;
  const size = (name: 'memory_mb' | 'cpu_shares' | 'disk_mb'): string => {
    const given = template[name];
    return given === null ? '' : String(Math.min(given, limits?.max[name] ?? given));
  };
  return { memory_mb: size('memory_mb'), cpu_shares: size('cpu_shares'), disk_mb: size('disk_mb'), network: '' };
}

const options = (images: readonly ImageView[]): JSX.Element[] =>
  images.map(({ name }) => (
    <option key={name} value={name}>
      {name}
    </option>
  ));

/** The description of an image; of a template, with its version. */
function imageHintOf(image: ImageView | undefined): string | undefined {
  if (!image?.template) return image?.description;
  const { version, data } = image.template;
  const parts = [image.description, `version ${version}`, data ? 'with data in /home/user' : ''];
  return parts.filter((part) => part !== '').join(', ');
}

/** What a container from a snapshot begins with. */
function hintOf(snapshot: SnapshotView): string {
  const container = containerById(snapshot.container_id);
  const of = container ? ` of “${container.name}”` : '';
  return `${contentsInWords(snapshot)}${of}, ${bytes(snapshot.bytes)}`;
}

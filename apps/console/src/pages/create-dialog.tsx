import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { CreateContainerDto, ImageView, RoleView } from '@berth/client';
import { berth, faultOf } from '../data/berth';
import { me } from '../data/live';
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

/** Asks for a container; it is made in the background, and shown in the list meanwhile. */
export function CreateDialog({ onClose }: { readonly onClose: () => void }): JSX.Element {
  const limits = me.value?.limits;
  const [draft, setDraft] = useState<Draft>(() => draftOf(undefined, limits));
  const set = (change: Partial<Draft>): void => setDraft((before) => ({ ...before, ...change }));
  const [name, setName] = useState('');
  const [image, setImage] = useState('');
  const [customImage, setCustomImage] = useState('');
  const [role, setRole] = useState('barebone');
  const [env, setEnv] = useState('');
  const [fault, setFault] = useState<unknown>(null);
  const [{ images, roles }, setCatalogue] = useState<{ images: readonly ImageView[]; roles: readonly RoleView[] }>({
    images: [],
    roles: [],
  });
  // One for the dialog, and another one for what is asked otherwise after a refusal.
  const key = useRef(crypto.randomUUID());

  // A user who submits before the catalogue is loaded still gets its first image.
  const catalogue = useRef<Promise<string>>(Promise.resolve(''));
  useEffect(() => {
    const load = async (): Promise<string> => {
      const [found, offered] = await Promise.all([berth.account.images(), berth.account.roles()]);
      setCatalogue({ images: found, roles: offered });
      const first = found.find((each) => each.default)?.name ?? found[0]?.name ?? 'custom';
      setImage((before) => (before === '' ? first : before));
      return first;
    };
    catalogue.current = load();
    catalogue.current.catch(() => undefined);
  }, []);

  const submit = async (): Promise<void> => {
    const stop = readSeconds(draft.auto_stop_minutes, 60);
    const end = readSeconds(draft.auto_delete_hours, 3600);
    const start = readStart(draft);
    const labels = readPairs(draft.labels);
    const variables = readPairs(env);
    const wanted: CreateContainerDto = {
      image: image === '' ? await catalogue.current : image,
      ...(image === 'custom' && { custom_image: customImage.trim() }),
      ...(name.trim() !== '' && { name: name.trim() }),
      ...(role !== 'barebone' && { role }),
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
      await berth.containers.create(wanted, { idempotencyKey: key.current });
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
          label="Image"
          hint={images.find((each) => each.name === image)?.description ?? undefined}
          fault={faultOf(fault, 'image')}
        >
          {(of) => (
            <select {...of} class="input" value={image} onChange={(event) => setImage(event.currentTarget.value)}>
              {images.map((each) => (
                <option key={each.name} value={each.name}>
                  {each.name}
                </option>
              ))}
              <option value="custom">Another one…</option>
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
        hint={roles.find((each) => each.name === role)?.description ?? 'Software that is installed once it runs.'}
        fault={faultOf(fault, 'role')}
      >
        {(of) => (
          <select {...of} class="input" value={role} onChange={(event) => setRole(event.currentTarget.value)}>
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

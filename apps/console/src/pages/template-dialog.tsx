import type { ImageView, PutTemplateDto, RoleView, SnapshotView, TemplateView } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { berth, faultOf, faultsOf } from '../data/berth';
import {
  type Draft,
  draftOf,
  faultsOfDraft,
  networkDraft,
  readGivenResources,
  readNetwork,
  readStart,
  sizesOf,
  startDraft,
} from '../data/container-draft';
import { type Faults, NO_FAULTS } from '../data/faults';
import { bytes } from '../words/format';
import { commonWords } from '../words/common';
import { contentsInWords } from '../words/errors';
import { templateDialogWords } from '../words/template-dialog';
import { Dialog } from '../ui/dialog';
import { FaultsMarked } from '../ui/form-faults';
import { Field, TextField } from '../ui/parts';
import { say, sayFault } from '../ui/toasts';
import { NetworkField, ResourceFields, StartFields } from './container-fields';

const sourceWords = templateDialogWords.source;

interface TemplateDialogProps {
  /** The template that is replaced; undefined: a new one. */
  readonly replaced?: TemplateView;
  /** The id of the snapshot that a new one begins with, if any. */
  readonly snapshot?: string | null;
  readonly onClose: () => void;
  readonly onSaved: () => void;
}

interface Catalogue {
  readonly images: readonly ImageView[];
  readonly snapshots: readonly SnapshotView[];
  readonly roles: readonly RoleView[];
  readonly tiers: readonly string[];
}

/** Names of the catalogue and ids of snapshots cannot be this. */
const OTHER = 'another:';
const SNAPSHOT = 'snapshot:';

/** Creates or replaces a template. It is answered once the files of a snapshot are copied. */
export function TemplateDialog({ replaced, snapshot = null, onClose, onSaved }: TemplateDialogProps): JSX.Element {
  const [name, setName] = useState(replaced?.name ?? '');
  const [version, setVersion] = useState(replaced?.version ?? '');
  const [description, setDescription] = useState(replaced?.description ?? '');
  const [source, setSource] = useState(() => sourceOf(replaced?.snapshot ?? snapshot));
  const [reference, setReference] = useState(replaced?.snapshot === null ? replaced.image : '');
  const [hasData, setHasData] = useState(replaced?.data ?? false);
  const [role, setRole] = useState(replaced?.role ?? '');
  const [tiers, setTiers] = useState<readonly string[] | null>(replaced?.tiers ?? null);
  const [before] = useState<Draft>(() => draftOfTemplate(replaced));
  const [draft, setDraft] = useState<Draft>(before);
  const [fault, setFault] = useState<unknown>(null);
  const [faults, setFaults] = useState<Faults>(NO_FAULTS);
  const [catalogue, setCatalogue] = useState<Catalogue>({ images: [], snapshots: [], roles: [], tiers: [] });
  const set = (change: Partial<Draft>): void => setDraft((now) => ({ ...now, ...change }));

  useEffect(() => {
    readCatalogue().then((found) => {
      setCatalogue(found);
      // A reference of the catalogue is shown by its name.
      const known = found.images.find((each) => each.reference === reference) ?? found.images[0];
      setSource(
        (now) => (now === OTHER && (reference === '' || known?.reference === reference) ? known?.name : now) ?? now,
      );
    }, sayFault);
  }, []);

  const isSnapshot = source.startsWith(SNAPSHOT);
  const chosen = catalogue.snapshots.find(({ id }) => source === SNAPSHOT + id);

  const submit = async (): Promise<void> => {
    const found = faultsOfDraft(draft, { limits: undefined, maySizesBeEmpty: true });
    setFaults(found);
    if (Object.keys(found).length > 0) throw new FaultsMarked(found);
    // Fields of the start command that the form does not show stay.
    const start = isSameStart(draft, before) ? (replaced?.start ?? null) : readStart(draft);
    const network = readNetwork(draft);
    const body: PutTemplateDto = {
      ...(isSnapshot
        ? { snapshot: source.slice(SNAPSHOT.length), data: hasData }
        : { image: source === OTHER ? reference.trim() : source }),
      version: version.trim(),
      description: description.trim() === '' ? null : description.trim(),
      ...readGivenResources(draft),
      ...(role !== '' && { role }),
      start,
      ...(network && { network }),
      ...(tiers && { tiers: [...tiers] }),
    };
    try {
      const { message } = await berth.admin.putTemplate(name.trim(), body);
      say(templateDialogWords.saved({ name: name.trim(), message }));
      onSaved();
    } catch (error) {
      setFault(error);
      setFaults(faultsOf(error));
      throw error;
    }
  };

  const fields = { draft, set, faults, limits: undefined, unset: templateDialogWords.sizesUnset };
  return (
    <Dialog
      title={replaced ? templateDialogWords.replaceTitle(replaced.name) : templateDialogWords.title}
      action={replaced ? templateDialogWords.replace : commonWords.create}
      onClose={onClose}
      onSubmit={submit}
    >
      {replaced && <p>{templateDialogWords.replaceHint}</p>}
      <div class="fields">
        {!replaced && (
          <TextField
            label={commonWords.name}
            hint={templateDialogWords.nameHint}
            fault={faultOf(fault, 'name')}
            input={{ maxLength: 64, autoComplete: 'off' }}
            value={name}
            onValue={setName}
          />
        )}
        <TextField
          label={templateDialogWords.version}
          hint={templateDialogWords.versionHint}
          fault={faultOf(fault, 'version')}
          input={{ maxLength: 64, autoComplete: 'off' }}
          value={version}
          onValue={setVersion}
        />
      </div>
      <TextField
        label={commonWords.description}
        fault={faultOf(fault, 'description')}
        input={{ maxLength: 500, autoComplete: 'off', placeholder: templateDialogWords.descriptionExample }}
        value={description}
        onValue={setDescription}
      />
      <Field
        label={sourceWords.title}
        hint={chosen && sourceWords.snapshotHint({ contents: contentsInWords(chosen), size: bytes(chosen.bytes) })}
        fault={faultOf(fault, 'snapshot') ?? (source === OTHER ? undefined : faultOf(fault, 'image'))}
      >
        {(of) => (
          <select {...of} class="input" value={source} onChange={(event) => setSource(event.currentTarget.value)}>
            <SourceOptions {...catalogue} present={replaced?.snapshot ?? snapshot} />
          </select>
        )}
      </Field>
      {source === OTHER && (
        <TextField
          label={templateDialogWords.reference.title}
          hint={templateDialogWords.reference.hint}
          fault={faultOf(fault, 'image')}
          isMono
          input={{ spellcheck: false }}
          value={reference}
          onValue={setReference}
        />
      )}
      {isSnapshot && (
        <label class="check">
          <input type="checkbox" checked={hasData} onChange={(event) => setHasData(event.currentTarget.checked)} />
          <span>{templateDialogWords.withData()}</span>
        </label>
      )}
      <ResourceFields {...fields} />
      <TiersField all={catalogue.tiers} permitted={tiers} fault={faultOf(fault, 'tiers')} onChange={setTiers} />
      <details class="more">
        <summary>{templateDialogWords.more}</summary>
        <div class="stack">
          <Field
            label={templateDialogWords.role.title}
            hint={catalogue.roles.find((each) => each.name === role)?.description}
            fault={faultOf(fault, 'role')}
          >
            {(of) => (
              <select {...of} class="input" value={role} onChange={(event) => setRole(event.currentTarget.value)}>
                <option value="">
                  {isSnapshot ? templateDialogWords.role.asInSnapshot : templateDialogWords.role.none}
                </option>
                {catalogue.roles.map((each) => (
                  <option key={each.name} value={each.name}>
                    {each.name}
                  </option>
                ))}
              </select>
            )}
          </Field>
          <NetworkField {...fields} />
          <StartFields {...fields} unset={undefined} />
        </div>
      </details>
    </Dialog>
  );
}

const sourceOf = (snapshot: string | null): string => (snapshot === null ? OTHER : SNAPSHOT + snapshot);

async function readCatalogue(): Promise<Catalogue> {
  const [images, taken, roles, tiers] = await Promise.all([
    berth.account.images(),
    berth.snapshots.list({ limit: 200 }).page(),
    berth.account.roles(),
    berth.account.tiers(),
  ]);
  return {
    images: images.filter(({ template }) => template === null),
    snapshots: taken.items.filter(({ status }) => status === 'ready'),
    roles,
    tiers: tiers.map(({ name }) => name),
  };
}

function draftOfTemplate(template: TemplateView | undefined): Draft {
  const { memory_mb = null, cpu_shares = null, disk_mb = null } = template ?? {};
  return {
    ...draftOf(undefined, undefined),
    ...sizesOf({ memory_mb, cpu_shares, disk_mb }),
    ...networkDraft(template?.network ?? null),
    ...startDraft(template?.start),
  };
}

const isSameStart = (one: Draft, other: Draft): boolean =>
  one.command === other.command && one.restart === other.restart && one.ready_port === other.ready_port;

interface SourceOptionsProps extends Catalogue {
  /** The id of a snapshot that is offered even if it is deleted: the present template has its files. */
  readonly present: string | null;
}

function SourceOptions({ images, snapshots, present }: SourceOptionsProps): JSX.Element {
  const isListed = present === null || snapshots.some(({ id }) => id === present);
  return (
    <>
      <optgroup label={sourceWords.images}>
        {images.map((each) => (
          <option key={each.name} value={each.name}>
            {each.name}
          </option>
        ))}
        <option value={OTHER}>{sourceWords.anotherImage}</option>
      </optgroup>
      {(snapshots.length > 0 || !isListed) && (
        <optgroup label={sourceWords.snapshots}>
          {!isListed && <option value={SNAPSHOT + present}>{sourceWords.present}</option>}
          {snapshots.map(({ id, name }) => (
            <option key={id} value={SNAPSHOT + id}>
              {name}
            </option>
          ))}
        </optgroup>
      )}
    </>
  );
}

interface TiersFieldProps {
  readonly all: readonly string[];
  /** null: all. */
  readonly permitted: readonly string[] | null;
  readonly fault: string | undefined;
  readonly onChange: (permitted: readonly string[] | null) => void;
}

function TiersField({ all, permitted, fault, onChange }: TiersFieldProps): JSX.Element {
  const chosen = permitted ?? all;
  const toggle = (tier: string, isOn: boolean): void => {
    const next = all.filter((each) => (each === tier ? isOn : chosen.includes(each)));
    onChange(next.length === all.length ? null : next);
  };
  return (
    <fieldset class="field">
      <legend class="label">{templateDialogWords.tiers}</legend>
      <div class="checks">
        {all.map((tier) => (
          <label key={tier} class="check">
            <input
              type="checkbox"
              checked={chosen.includes(tier)}
              onChange={(event) => toggle(tier, event.currentTarget.checked)}
            />
            {tier}
          </label>
        ))}
      </div>
      {fault !== undefined && <span class="fault">{fault}</span>}
    </fieldset>
  );
}

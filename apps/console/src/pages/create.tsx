import { isBerthError, type MeView } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { berth, faultsOf } from '../data/berth';
import { type Draft, readGivenResources } from '../data/container-draft';
import {
  type Catalogue,
  type CreateContext,
  type CreateForm,
  CUSTOM_SIZE,
  faultsOfForm,
  imageOf,
  presetsOf,
  requestOf,
  resourcesOf,
  snapshotOf,
  suggestName,
  withSize,
  withSource,
} from '../data/create-form';
import { readCreateLink, writeCreateLink } from '../data/create-link';
import { type Faults, NO_FAULTS } from '../data/faults';
import { count } from '../words/format';
import { containers, me, now } from '../data/live';
import { filled as filledRows } from '../data/pairs';
import { cpusInWords, sizeInWords } from '../data/units';
import { commonWords } from '../words/common';
import { createWords } from '../words/create';
import { inWords } from '../words/errors';
import { resourceWords } from '../words/resources';
import { address, Link, navigate } from '../router';
import { FaultSummary, focusFirstFault } from '../ui/form-faults';
import { Field, Meter, PageHead, Shown, TextField, useLoaded } from '../ui/parts';
import { say } from '../ui/toasts';
import {
  LabelsField,
  LifetimeFields,
  NetworkField,
  ResourceFields,
  StartFields,
  VariablesField,
} from './container-fields';
import { SizeChoices, SourceField } from './create-source';

async function readCatalogue(): Promise<Catalogue> {
  const [{ images, custom_images: hasCustom }, roles, taken] = await Promise.all([
    berth.account.imageCatalog(),
    berth.account.roles(),
    berth.snapshots.list({ limit: 200 }).all(),
  ]);
  return { images, hasCustom, roles, snapshots: taken.filter(({ status }) => status === 'ready') };
}

/** The form of a new container. Its address may fill it in: data/create-link.ts. */
export function Create(): JSX.Element {
  const catalogue = useLoaded(readCatalogue);
  const user = me.value;
  const { query } = address.value;
  return (
    <>
      <PageHead title={createWords.title} />
      <Shown of={catalogue}>
        {(found) => user && <CreationForm key={query.toString()} catalogue={found} user={user} query={query} />}
      </Shown>
    </>
  );
}

/** The fields of the API that the fields of a draft stand for, where they have other names. */
const FIELD_OF: Readonly<Partial<Record<keyof Draft, string>>> = {
  memory: 'memory_mb',
  cpus: 'cpu_shares',
  disk: 'disk_mb',
  allow: 'network',
  auto_stop: 'auto_stop_seconds',
  auto_delete: 'auto_delete_seconds',
  command: 'start',
};

const SIZE_FIELDS: readonly string[] = ['memory_mb', 'cpu_shares', 'disk_mb'];

const without = (faults: Faults, fields: readonly string[]): Faults =>
  Object.fromEntries(
    Object.entries(faults).filter(
      ([fault]) => !fields.some((field) => fault === field || fault.startsWith(`${field}.`)),
    ),
  );

const hasAny = (faults: Faults): boolean => Object.keys(faults).length > 0;

interface CreationFormProps {
  readonly catalogue: Catalogue;
  readonly user: MeView;
  readonly query: URLSearchParams;
}

function CreationForm({ catalogue, user, query }: CreationFormProps): JSX.Element {
  const { limits } = user;
  const context = { catalogue, limits };
  const taken = new Set(containers.value.map(({ name }) => name));
  const [filled] = useState(() => readCreateLink(query, context));
  const [suggested, setSuggested] = useState(() => suggestName(taken));
  const [form, setForm] = useState<CreateForm>(() => ({ ...filled.form, name: filled.form.name || suggested }));
  /** What the server or the link said, until the field is changed. */
  const [told, setTold] = useState<Faults>(filled.faults);
  const [refusal, setRefusal] = useState<unknown>(null);
  /** All fields show their faults; before that, those that the focus has left. */
  const [isChecked, setChecked] = useState(query.size > 0);
  const [left, onFocusOut] = useLeftFields();
  const [isBusy, setBusy] = useState(false);
  const [link, setLink] = useState<string | null>(null);
  const [isMoreOpen] = useState(() => hasMore(query));
  const isWide = useIsWide();
  const place = useRef<HTMLFormElement>(null);
  const focusOn = useRef<Faults | null>(null);
  const sent = useRef<{ readonly body: string; readonly key: string } | null>(null);
  useLayoutEffect(() => {
    if (focusOn.current === null) return;
    focusFirstFault(place.current, focusOn.current);
    focusOn.current = null;
  });

  const seen = faultsOfForm(form, { ...context, taken });
  const all = { ...seen, ...told };
  // The new container may be in the list before the answer is here, with the name of the form.
  const faults = isBusy
    ? NO_FAULTS
    : isChecked
      ? all
      : Object.fromEntries(Object.entries(all).filter(([field]) => left.has(field) || field in told));
  const blocker = blockerOf(user, containers.value.length);

  const change = (next: CreateForm, fields: readonly string[]): void => {
    setForm(next);
    setTold((before) => without(before, fields));
    setRefusal(null);
    setLink(null);
  };
  const set = (changes: Partial<Draft>): void =>
    change(
      { ...form, draft: { ...form.draft, ...changes } },
      Object.keys(changes).map((own) => FIELD_OF[own as keyof Draft] ?? own),
    );

  const show = (found: Faults): void => {
    setChecked(true);
    focusOn.current = found;
  };

  const submit = async (): Promise<void> => {
    if (isBusy || blocker !== null) return;
    setRefusal(null);
    if (hasAny(all)) {
      show(all);
      return;
    }
    setBusy(true);
    const request = requestOf(form, limits);
    const body = JSON.stringify(request);
    if (sent.current?.body !== body) sent.current = { body, key: newKey() };
    try {
      const { db_id } = await berth.containers.create(request, { idempotencyKey: sent.current.key });
      navigate(`/containers/${db_id}`);
    } catch (error) {
      // Without an answer it may have been created: the same request again must not create another one.
      if (!isBerthError(error, 'connection_failed')) sent.current = null;
      const isOfStart = request.start != null && isBerthError(error, 'insufficient_permissions');
      const found = isOfStart ? { start: inWords(error) } : faultsOf(error);
      setTold(found);
      // Their fields are behind the presets.
      if (SIZE_FIELDS.some((field) => field in found)) setForm((before) => ({ ...before, size: CUSTOM_SIZE }));
      if (!hasAny(found)) setRefusal(error);
      setBusy(false);
      show(found);
    }
  };

  const copyLink = async (): Promise<void> => {
    const text = location.origin + writeCreateLink(form, { limits, hasName: form.name !== suggested });
    try {
      await navigator.clipboard.writeText(text);
      say(filledRows(form.env).length === 0 ? createWords.link.copied : createWords.link.copiedWithoutValues);
    } catch {
      // Not permitted, or not there: without HTTPS browsers have no clipboard.
      setLink(text);
    }
  };

  const isTemplate = form.source.kind === 'template';
  const unset = isTemplate ? createWords.asInTemplate : undefined;
  const fields = { draft: form.draft, set, faults, limits, unset };
  return (
    <form
      ref={place}
      class="create-form"
      noValidate
      aria-label={createWords.title}
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
      onKeyDown={(event) => {
        if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
        event.preventDefault();
        void submit();
      }}
      onFocusOut={onFocusOut}
    >
      <div class="create-main">
        {isChecked && !isBusy && <FaultSummary form={place} faults={faults} notes={filled.notes} />}
        {refusal !== null && (
          <p class="notice bad" role="alert">
            {inWords(refusal)}
          </p>
        )}
        <div class="panel form-section">
          <div class="name-row">
            <TextField
              label={commonWords.name}
              name="name"
              hint={createWords.nameHint}
              fault={faults['name']}
              input={{ maxLength: 64, autoComplete: 'off', spellcheck: false, autocapitalize: 'off' }}
              value={form.name}
              onValue={(name) => change({ ...form, name }, ['name'])}
            />
            <button
              type="button"
              class="button"
              onClick={() => {
                const name = suggestName(new Set([...taken, form.name]));
                setSuggested(name);
                change({ ...form, name }, ['name']);
              }}
            >
              {createWords.suggest}
            </button>
          </div>
          <SourceField
            catalogue={catalogue}
            source={form.source}
            onSource={(source) => change(withSource(form, source, context), ['source', 'custom_image', 'role'])}
            faults={faults}
          />
          <section class="form-part" aria-labelledby="create-size">
            <h2 id="create-size">{createWords.size.title}</h2>
            <SizeChoices
              presets={presetsOf(limits)}
              size={form.size}
              hasTemplate={isTemplate}
              onSize={(size) => change(withSize(form, size, context), SIZE_FIELDS)}
            />
            {form.size === CUSTOM_SIZE && (
              <ResourceFields {...fields} faults={withSizes(faults, { seen, draft: form.draft })} />
            )}
          </section>
        </div>
        <details class="panel form-section more" open={isMoreOpen}>
          <summary>{createWords.more}</summary>
          <div class="stack">
            <LabelsField {...fields} />
            <VariablesField
              label={createWords.variables.title}
              hint={createWords.variables.hint}
              env={form.env}
              onEnv={(env) => change({ ...form, env }, ['env'])}
              faults={faults}
            />
            <RoleField
              catalogue={catalogue}
              form={form}
              fault={faults['role']}
              onRole={(role) => change({ ...form, role }, ['role'])}
            />
            <NetworkField {...fields} />
            <LifetimeFields {...fields} />
            <StartFields {...fields} />
            {!isWide && <Effect user={user} form={form} context={context} />}
          </div>
        </details>
      </div>
      {isWide && (
        <div class="panel form-section create-aside">
          <Effect user={user} form={form} context={context} />
        </div>
      )}
      <div class="create-bar">
        {blocker !== null && (
          <p id="create-blocker" class="notice warn">
            {blocker}
          </p>
        )}
        {link !== null && (
          <TextField
            label={createWords.link.title}
            hint={createWords.link.hint}
            isMono
            input={{ readOnly: true, onFocus: (event) => event.currentTarget.select() }}
            value={link}
            onValue={() => undefined}
          />
        )}
        <button
          type="submit"
          class={`button primary ${isBusy ? 'busy' : ''}`}
          aria-disabled={isBusy || blocker !== null}
          aria-describedby={blocker === null ? undefined : 'create-blocker'}
        >
          {commonWords.create}
        </button>
        <button type="button" class="button" onClick={() => void copyLink()}>
          {createWords.link.copy}
        </button>
        <Link class="button" href="/">
          {commonWords.cancel}
        </Link>
      </div>
    </form>
  );
}

/**
 * The names of the fields that the focus has left. While a pointer is down nothing changes: what a fault moves away from
 * below the pointer would not be clicked.
 */
function useLeftFields(): readonly [ReadonlySet<string>, (event: FocusEvent) => void] {
  const [left, setLeft] = useState<ReadonlySet<string>>(new Set());
  const isDown = useRef(false);
  useEffect(() => {
    const down = (): void => void (isDown.current = true);
    const up = (): void => void (isDown.current = false);
    addEventListener('pointerdown', down, true);
    addEventListener('pointerup', up, true);
    addEventListener('pointercancel', up, true);
    return () => {
      removeEventListener('pointerdown', down, true);
      removeEventListener('pointerup', up, true);
      removeEventListener('pointercancel', up, true);
    };
  }, []);
  const onFocusOut = ({ target }: FocusEvent): void => {
    const { name } = target as HTMLInputElement;
    if (!name) return;
    const add = (): void => setLeft((before) => (before.has(name) ? before : new Set([...before, name])));
    // The click comes right behind the end of the pointer.
    if (isDown.current) addEventListener('pointerup', () => setTimeout(add), { once: true });
    else add();
  };
  return [left, onFocusOut];
}

/** Sizes beyond the tier are shown at once, as the limits beside them are. */
const withSizes = (faults: Faults, { seen, draft }: { readonly seen: Faults; readonly draft: Draft }): Faults => {
  // A size that can be read has no other fault.
  const readable = Object.keys(readGivenResources(draft));
  const beyond = readable.filter((field) => seen[field] !== undefined);
  return { ...Object.fromEntries(beyond.map((field) => [field, seen[field] ?? ''])), ...faults };
};

/** The parameters of a link whose fields are behind “More”. */
const MORE = [
  'label',
  'env',
  'role',
  'network',
  'allow',
  'idle_after',
  'idle_action',
  'delete_after',
  'auto_start',
  'start',
  'restart',
  'ready_port',
];

const hasMore = (query: URLSearchParams): boolean => MORE.some((parameter) => query.has(parameter));

/** As in `styles/create.css`. */
const WIDE = matchMedia('(min-width: 1061px)');

/** Whether the limits fit beside the form; otherwise they are behind “More”. */
function useIsWide(): boolean {
  const [isWide, setWide] = useState(WIDE.matches);
  useEffect(() => {
    const onChange = (): void => setWide(WIDE.matches);
    WIDE.addEventListener('change', onChange);
    return () => WIDE.removeEventListener('change', onChange);
  }, []);
  return isWide;
}

/** `crypto.randomUUID` is missing in pages without HTTPS. */
const newKey = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');

/** Why the user can create no container now, such as a reached limit; null if the user can. */
function blockerOf({ tier, limits, scopes, session }: MeView, count: number): string | null {
  if (!scopes.some((scope) => scope === 'write' || scope === 'admin')) {
    return createWords.blockers.noScope;
  }
  if (session && Date.parse(session.expires_at) <= now.value) {
    return createWords.blockers.sessionEnded;
  }
  if (count < limits.containers) return null;
  return createWords.blockers.limitReached({ tier, limit: limits.containers, count });
}

interface RoleFieldProps {
  readonly catalogue: Catalogue;
  readonly form: CreateForm;
  readonly fault: string | undefined;
  readonly onRole: (role: string) => void;
}

function RoleField({ catalogue, form, fault, onRole }: RoleFieldProps): JSX.Element {
  const words = createWords.role;
  const { roles } = catalogue;
  const usual = roles.find((each) => each.default);
  const snapshot = snapshotOf(form.source, catalogue);
  const template = imageOf(form.source, catalogue)?.template;
  const origin = snapshot ?? template ?? null;
  const role = form.role || (origin?.role ?? usual?.name);
  const none = usual?.name ?? words.none;
  const asIn = snapshot ? words.asInSnapshot : words.asInTemplate;
  const first = origin ? asIn(origin.role ?? none) : none;
  return (
    <Field
      label={words.title}
      name="role"
      hint={roles.find((each) => each.name === role)?.description ?? words.hint}
      fault={fault}
    >
      {(of) => (
        <select {...of} class="input" value={form.role} onChange={(event) => onRole(event.currentTarget.value)}>
          <option value="">{first}</option>
          {form.role !== '' && !roles.some(({ name }) => name === form.role) && (
            <option value={form.role}>{form.role}</option>
          )}
          {roles
            .filter((each) => origin !== null || !each.default)
            .map(({ name }) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
        </select>
      )}
    </Field>
  );
}

interface EffectProps {
  readonly user: MeView;
  readonly form: CreateForm;
  readonly context: CreateContext;
}

const SUMS = [
  ['memory_mb', resourceWords.memory, sizeInWords],
  ['cpu_shares', resourceWords.cpu, cpusInWords],
  ['disk_mb', resourceWords.disk, sizeInWords],
] as const;

/** What the user has now and with the new container, and the most that the tier allows. */
function Effect({ user: { tier, limits }, form, context }: EffectProps): JSX.Element {
  const own = containers.value;
  const sizes = resourcesOf(form, context);
  return (
    <section class="form-part" aria-labelledby="create-limits">
      <h2 id="create-limits">{createWords.limits.title}</h2>
      <p class="small muted">{createWords.limits.legend(tier)}</p>
      <dl class="effect">
        <EffectRow
          name={createWords.limits.containers}
          now={own.length}
          added={1}
          most={limits.containers}
          write={count}
        />
        {SUMS.map(([field, name, write]) => (
          <EffectRow
            key={field}
            name={name}
            now={own.reduce((sum, { resources }) => sum + resources[field], 0)}
            added={sizes[field]}
            most={limits.containers * limits.max[field]}
            write={write}
          />
        ))}
      </dl>
    </section>
  );
}

interface EffectRowProps {
  readonly name: string;
  readonly now: number;
  /** undefined: not known, as its field has a fault. */
  readonly added: number | undefined;
  readonly most: number;
  readonly write: (amount: number) => string;
}

function EffectRow({ name, now: before, added, most, write }: EffectRowProps): JSX.Element {
  const after = before + (added ?? 0);
  return (
    <div class="effect-row">
      <dt>{name}</dt>
      <dd>
        {write(before)} → <strong>{added === undefined ? '?' : write(after)}</strong>{' '}
        <span class="muted">{createWords.limits.most(write(most))}</span>
      </dd>
      <dd>
        <Meter value={after} max={most} label={createWords.limits.meter(name)} />
      </dd>
    </div>
  );
}

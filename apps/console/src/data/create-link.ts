import type { IdleAction, LimitsView } from '@berth/client';
import { faultWords } from '../words/faults';
import { type Draft, linesOf } from './container-draft';
import {
  type CreateContext,
  type CreateForm,
  firstSource,
  imageOf,
  newForm,
  sizeOf,
  type Source,
  TEMPLATE_SIZE,
} from './create-form';
import type { Faults } from './faults';
import { filled, newPair, type Pair } from './pairs';
import { type Read, readCpus, readSize, readTime, writeCpus, writeSize, writeTime } from './units';

/** Links that fill in the form of a creation: `/new?image=ubuntu&memory=2GB&label=team:core`. */

/** A form as a link fills it in. */
export interface FilledForm {
  readonly form: CreateForm;
  /** Values that no field can show, by the field. */
  readonly faults: Faults;
  /** What is wrong with the link besides. */
  readonly notes: readonly string[];
}

const SOURCES = ['image', 'template', 'snapshot', 'custom_image'] as const;

const SIZES: readonly (readonly [
  parameter: string,
  own: 'memory' | 'cpus' | 'disk',
  read: (text: string) => Read,
  write: (amount: number) => string,
])[] = [
  ['memory', 'memory', readSize, writeSize],
  ['cpus', 'cpus', readCpus, writeCpus],
  ['disk', 'disk', readSize, writeSize],
];

const TIMES: readonly (readonly [parameter: string, own: 'auto_stop' | 'auto_delete'])[] = [
  ['idle_after', 'auto_stop'],
  ['delete_after', 'auto_delete'],
];

const IDLE_ACTIONS: readonly IdleAction[] = ['stop', 'pause_then_stop', 'pause'];
const NETWORKS = ['internet', 'none', 'allow'] as const;
const RESTARTS = ['on-failure', 'never'] as const;

/** Those that may be given several times. */
const LISTS: ReadonlySet<string> = new Set(['label', 'env', 'allow']);
const SINGLES: ReadonlySet<string> = new Set([
  ...SOURCES,
  ...SIZES.map(([parameter]) => parameter),
  ...TIMES.map(([parameter]) => parameter),
  'name',
  'role',
  'network',
  'idle_action',
  'auto_start',
  'start',
  'restart',
  'ready_port',
]);

/** Fills in a form. What a field can show is put into it, also where it is invalid: the form's own checks say so. */
export function readCreateLink(query: URLSearchParams, context: CreateContext): FilledForm {
  const faults: Record<string, string> = {};
  const notes: string[] = [];
  const words = faultWords.link;
  for (const parameter of new Set(query.keys())) {
    if (!SINGLES.has(parameter) && !LISTS.has(parameter)) notes.push(words.unknownParameter(parameter));
    else if (SINGLES.has(parameter) && query.getAll(parameter).length > 1) {
      notes.push(words.repeatedParameter(parameter));
    }
  }
  const sources = SOURCES.filter((parameter) => query.has(parameter));
  if (sources.length > 1) faults['source'] = words.severalSources(sources);
  const source = sourceOf(query, { parameter: sources[0], context }) ?? firstSource(context.catalogue);
  const begun = newForm(source, context);
  const choice = <T extends string>(
    parameter: string,
    { of, field }: { of: readonly T[]; field: string },
  ): T | null => {
    const given = query.get(parameter);
    const found = of.find((each) => each === given) ?? null;
    if (given !== null && found === null) {
      faults[field] = words.notPossible({ given, parameter, values: of });
    }
    return found;
  };
  const network = choice('network', { of: NETWORKS, field: 'network' });
  const idleAction = choice('idle_action', { of: IDLE_ACTIONS, field: 'idle_action' });
  const restart = choice('restart', { of: RESTARTS, field: 'restart' });
  const autoStart = choice('auto_start', { of: ['true', 'false'], field: 'auto_start' });
  const allow = query.getAll('allow');
  const changes: Partial<Draft> = {
    ...sizesFrom(query),
    ...timesFrom(query),
    ...(network !== null && { network }),
    ...(allow.length > 0 && { allow: allow.join('\n'), ...(network === null && { network: 'allow' }) }),
    ...(idleAction !== null && { idle_action: idleAction }),
    ...(restart !== null && { restart }),
    ...(autoStart !== null && { auto_start: autoStart === 'true' }),
    ...(query.has('start') && { command: query.get('start') ?? '' }),
    ...(query.has('ready_port') && { ready_port: query.get('ready_port') ?? '' }),
    labels: query.getAll('label').map(labelOf),
  };
  const draft: Draft = { ...begun.draft, ...changes };
  const hasSize = SIZES.some(([parameter]) => query.has(parameter));
  const form: CreateForm = {
    ...begun,
    name: query.get('name') ?? '',
    role: roleOf(query.get('role') ?? '', source, context),
    size: hasSize ? sizeOf(draft, context.limits) : begun.size,
    env: query.has('env') ? query.getAll('env').map(variableOf) : begun.env,
    draft,
  };
  return { form, faults, notes };
}

interface SourceParameter {
  readonly parameter: (typeof SOURCES)[number] | undefined;
  readonly context: CreateContext;
}

function sourceOf(query: URLSearchParams, { parameter, context }: SourceParameter): Source | null {
  if (parameter === undefined) return null;
  const of = query.get(parameter) ?? '';
  // As the API takes the names of templates as images.
  const template: Source = { kind: 'template', of };
  if (parameter === 'image' && !imageOf({ kind: 'image', of }, context.catalogue)) {
    return imageOf(template, context.catalogue) ? template : { kind: 'image', of };
  }
  return { kind: parameter === 'custom_image' ? 'custom' : parameter, of };
}

/** The default role of an image is the form's empty one. */
function roleOf(role: string, { kind }: Source, { catalogue }: CreateContext): string {
  const isDefault = catalogue.roles.some((each) => each.default && each.name === role);
  return isDefault && (kind === 'image' || kind === 'custom') ? '' : role;
}

/** As their fields show them; what cannot be read as it is. */
function sizesFrom(query: URLSearchParams): Partial<Draft> {
  const given = SIZES.flatMap(([parameter, own, read, write]): [string, string][] => {
    const text = query.get(parameter);
    if (text === null) return [];
    const found = read(text);
    return [[own, 'value' in found ? write(found.value) : text]];
  });
  return Object.fromEntries(given);
}

function timesFrom(query: URLSearchParams): Partial<Draft> {
  const given = TIMES.flatMap(([parameter, own]): [string, string][] => {
    const text = query.get(parameter);
    if (text === null) return [];
    const found = readTime(text);
    return [[own, 'value' in found ? writeTime(found.value) : text]];
  });
  return Object.fromEntries(given);
}

/** `team:core`, as the API's selectors have labels; or a key alone. */
function labelOf(text: string): Pair {
  const colon = text.indexOf(':');
  return colon < 0 ? newPair(text) : newPair(text.slice(0, colon), text.slice(colon + 1));
}

/** `KEY=value`, or a name whose value is asked for. */
function variableOf(text: string): Pair {
  const equals = text.indexOf('=');
  if (equals < 0) return { ...newPair(text), isValueMissing: true };
  return newPair(text.slice(0, equals), text.slice(equals + 1));
}

const PARAMETER_OF: Readonly<Record<Source['kind'], string>> = {
  image: 'image',
  template: 'template',
  snapshot: 'snapshot',
  custom: 'custom_image',
};

/**
 * The address that fills in a form like this one. Values of variables may be secrets, so they are left out.
 *
 * @param options.hasName whether the name is the user's own
 */
export function writeCreateLink(
  form: CreateForm,
  { limits, hasName }: { readonly limits: LimitsView; readonly hasName: boolean },
): string {
  const query = new URLSearchParams();
  const add = (parameter: string, value: string): void => {
    if (value !== '') query.append(parameter, value);
  };
  const { source, draft, role } = form;
  add(PARAMETER_OF[source.kind], source.of.trim());
  if (hasName) add('name', form.name.trim());
  if (form.size !== TEMPLATE_SIZE) {
    for (const [parameter, own, read] of SIZES) add(parameter, withUnit(own, withPoint(draft[own], read)));
  }
  add('role', role);
  if (draft.network !== 'allow') {
    const usual = source.kind === 'template' ? '' : limits.network;
    if (draft.network !== usual) add('network', draft.network);
  } else for (const entry of linesOf(draft.allow)) add('allow', entry);
  for (const [parameter, own] of TIMES) add(parameter, withPoint(draft[own], readTime));
  add('idle_action', draft.idle_action);
  if (draft.auto_start) add('auto_start', 'true');
  if (draft.command.trim() !== '') {
    add('start', draft.command.trim());
    if (draft.restart !== 'on-failure') add('restart', draft.restart);
    add('ready_port', draft.ready_port.trim());
  }
  for (const { name, value } of filled(draft.labels))
    add('label', value === '' ? name.trim() : `${name.trim()}:${value}`);
  for (const { name } of filled(form.env)) add('env', name.trim());
  // Both are themselves in a query, and are easier to read.
  return `/new?${query.toString().replaceAll('%3A', ':').replaceAll('%2F', '/')}`;
}

/** Without spaces; an amount that can be read has its decimals with a point, as in every other language's link. */
function withPoint(text: string, read: (text: string) => Read): string {
  const compact = text.replaceAll(/\s+/g, '');
  return 'value' in read(text) ? compact.replaceAll(',', '.') : compact;
}

const withUnit = (own: 'memory' | 'cpus' | 'disk', text: string): string =>
  own !== 'cpus' && /^[\d.]+$/.test(text) ? `${text}GB` : text;

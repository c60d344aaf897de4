import type { CreateContainerDto, ImageView, LimitsView, Resources, RoleView, SnapshotView } from '@berth/client';
import { createWords } from '../words/create';
import { faultWords } from '../words/faults';
import {
  type Draft,
  draftOf,
  faultsOfDraft,
  readGivenResources,
  readNetwork,
  readSeconds,
  readStart,
  sizesOf,
} from './container-draft';
import type { Faults } from './faults';
import { faultsOfPairs, newPair, type Pair, VARIABLE_RULES, valuesOf } from './pairs';

/** What a container can be created from. */
export interface Catalogue {
  readonly images: readonly ImageView[];
  /** Whether an image outside the catalogue can be named. */
  readonly hasCustom: boolean;
  readonly roles: readonly RoleView[];
  /** The ready ones. */
  readonly snapshots: readonly SnapshotView[];
}

/** What a creation begins with. */
export interface Source {
  readonly kind: 'image' | 'template' | 'snapshot' | 'custom';
  /** The name of an image or a template, the id of a snapshot, or an image reference. */
  readonly of: string;
}

/** The form of a creation. */
export interface CreateForm {
  readonly name: string;
  readonly source: Source;
  /** Empty: as the template or the snapshot says, or none. */
  readonly role: string;
  /** The id of a preset, {@link CUSTOM_SIZE}, or {@link TEMPLATE_SIZE}. */
  readonly size: string;
  readonly env: readonly Pair[];
  readonly draft: Draft;
}

/** The sizes are those in the fields. */
export const CUSTOM_SIZE = 'custom';
/** The sizes are left to the template. */
export const TEMPLATE_SIZE = 'template';

/** What a form is filled in and checked with. */
export interface CreateContext {
  readonly catalogue: Catalogue;
  readonly limits: LimitsView;
}

/** A size that is offered. */
export interface Preset {
  readonly id: string;
  readonly name: string;
  readonly resources: Resources;
  /** What a creation gets that asks for no size. */
  readonly isDefault: boolean;
}

/** Sizes as they are offered where a tier allows them: CPUs, and as many GB of memory. */
const LADDER = [
  ['nano', 0.25],
  ['micro', 0.5],
  ['small', 1],
  ['medium', 2],
  ['large', 4],
  ['x-large', 8],
  ['2x-large', 16],
  ['4x-large', 32],
] as const;

const { names: SIZE_NAMES } = createWords.size;

/** GB of disk for each CPU, as far as the tier allows it. */
const DISK_GB = 10;

const isSame = (one: Resources, other: Resources): boolean =>
  one.memory_mb === other.memory_mb && one.cpu_shares === other.cpu_shares && one.disk_mb === other.disk_mb;

/** The sizes that a tier allows, from the smallest on, with its default size and its largest among them. */
export function presetsOf({ min, max, default: usual }: LimitsView): readonly Preset[] {
  const isWithin = (field: keyof Resources, amount: number): boolean => amount >= min[field] && amount <= max[field];
  const presets = LADDER.map(([id, cpus]): Preset => {
    const disk = Math.min(max.disk_mb, Math.max(min.disk_mb, cpus * DISK_GB * 1024));
    const resources = { memory_mb: cpus * 1024, cpu_shares: cpus * 1000, disk_mb: disk };
    return { id, name: SIZE_NAMES[id], resources, isDefault: isSame(resources, usual) };
  }).filter(
    ({ resources }) => isWithin('memory_mb', resources.memory_mb) && isWithin('cpu_shares', resources.cpu_shares),
  );
  const has = (size: Resources): boolean => presets.some(({ resources }) => isSame(resources, size));
  if (!has(usual)) presets.push({ id: 'standard', name: SIZE_NAMES.standard, resources: usual, isDefault: true });
  if (!has(max)) presets.push({ id: 'largest', name: SIZE_NAMES.largest, resources: max, isDefault: false });
  return presets.sort(
    ({ resources: one }, { resources: other }) =>
      one.memory_mb - other.memory_mb || one.cpu_shares - other.cpu_shares || one.disk_mb - other.disk_mb,
  );
}

/** The preset that has the sizes of a draft; {@link CUSTOM_SIZE} if none has. */
export function sizeOf(draft: Draft, limits: LimitsView): string {
  const { memory, cpus, disk } = draft;
  const found = presetsOf(limits).find(({ resources }) => {
    const sizes = sizesOf(resources);
    return sizes.memory === memory && sizes.cpus === cpus && sizes.disk === disk;
  });
  return found?.id ?? CUSTOM_SIZE;
}

export const snapshotOf = ({ kind, of }: Source, { snapshots }: Catalogue): SnapshotView | undefined =>
  kind === 'snapshot' ? snapshots.find(({ id }) => id === of) : undefined;

/** The image or the template of a source in the catalogue. */
export const imageOf = ({ kind, of }: Source, { images }: Catalogue): ImageView | undefined =>
  kind === 'image' || kind === 'template'
    ? images.find(({ name, template }) => name === of && (template !== null) === (kind === 'template'))
    : undefined;

/** The image that is offered first. */
export function firstSource({ images }: Catalogue): Source {
  const first = images.find((each) => each.default) ?? images[0];
  return first ? { kind: first.template ? 'template' : 'image', of: first.name } : { kind: 'custom', of: '' };
}

/** Whether a source has settings of its own besides its image. */
const hasSettings = ({ kind }: Source): boolean => kind === 'template' || kind === 'snapshot';

/** A form as it begins. */
export function newForm(source: Source, { catalogue, limits }: CreateContext): CreateForm {
  const form = { name: '', source, role: '', size: '', env: [newPair()], draft: draftOf(undefined, limits) };
  return withSettings(form, { catalogue, limits });
}

/** Chooses another source. The sizes, the network and the role become those of the source, if it or the last has any. */
export function withSource(form: CreateForm, source: Source, context: CreateContext): CreateForm {
  const next = { ...form, source };
  return hasSettings(form.source) || hasSettings(source) ? withSettings(next, context) : next;
}

function withSettings(form: CreateForm, { catalogue, limits }: CreateContext): CreateForm {
  const { source } = form;
  const { memory, cpus, disk, network, allow } = draftOf(undefined, limits);
  const usual: Draft = { ...form.draft, memory, cpus, disk, network, allow };
  const snapshot = snapshotOf(source, catalogue);
  if (source.kind === 'template') {
    const draft: Draft = { ...usual, memory: '', cpus: '', disk: '', network: '', allow: '' };
    return { ...form, role: '', size: TEMPLATE_SIZE, draft };
  }
  const draft = snapshot ? { ...usual, disk: sizesOf({ ...limits.default, disk_mb: snapshot.disk_mb }).disk } : usual;
  return { ...form, role: '', size: sizeOf(draft, limits), draft };
}

/** Chooses a preset, the template's sizes, or the fields of sizes. */
export function withSize(form: CreateForm, size: string, { catalogue, limits }: CreateContext): CreateForm {
  const preset = presetsOf(limits).find(({ id }) => id === size);
  if (preset) return { ...form, size, draft: { ...form.draft, ...sizesOf(preset.resources) } };
  if (size === TEMPLATE_SIZE) return { ...form, size, draft: { ...form.draft, memory: '', cpus: '', disk: '' } };
  const template = form.size === TEMPLATE_SIZE ? imageOf(form.source, catalogue)?.template : null;
  const sizes = template ? sizesOf(templateSizes(template, limits)) : {};
  return { ...form, size, draft: { ...form.draft, ...sizes } };
}

type Template = NonNullable<ImageView['template']>;

/** A size of a template is a default, so the tier's maximum bounds it, as in src/containers/creation/specification.ts. */
function templateSizes(template: Template, { max }: LimitsView): { readonly [F in keyof Resources]: number | null } {
  const size = (field: keyof Resources): number | null => {
    const given = template[field];
    return given === null ? null : Math.min(given, max[field]);
  };
  return { memory_mb: size('memory_mb'), cpu_shares: size('cpu_shares'), disk_mb: size('disk_mb') };
}

/** The sizes that a container of this form gets. Faulty ones are left out. */
export function resourcesOf(form: CreateForm, { catalogue, limits }: CreateContext): Partial<Resources> {
  const template = imageOf(form.source, catalogue)?.template;
  const given = readGivenResources(form.draft);
  const sizes: { [F in keyof Resources]?: number } = {};
  for (const [field, own] of SIZE_FIELDS) {
    const isLeft = template !== undefined && template !== null && form.draft[own].trim() === '';
    const amount = isLeft ? (templateSizes(template, limits)[field] ?? limits.default[field]) : given[field];
    if (amount !== undefined) sizes[field] = amount;
  }
  return sizes;
}

const SIZE_FIELDS = [
  ['memory_mb', 'memory'],
  ['cpu_shares', 'cpus'],
  ['disk_mb', 'disk'],
] as const;

/** Permitted names of containers: src/containers/dto/requests.ts. */
const NAME = /^[A-Za-z0-9-]{1,64}$/;
const LONGEST_REFERENCE = 255;

/** Everything that can be seen to be wrong with a form before it is sent, by field. @param taken names of containers */
export function faultsOfForm(
  form: CreateForm,
  { catalogue, limits, taken }: CreateContext & { readonly taken: ReadonlySet<string> },
): Faults {
  const faults: Record<string, string> = {};
  const name = form.name.trim();
  if (name !== '' && !NAME.test(name)) faults['name'] = faultWords.name;
  else if (taken.has(name)) faults['name'] = faultWords.nameTaken;
  Object.assign(faults, faultsOfSource(form.source, catalogue));
  if (form.role !== '' && !catalogue.roles.some((role) => role.name === form.role)) {
    faults['role'] = faultWords.noRole(form.role);
  }
  const maySizesBeEmpty = form.source.kind === 'template';
  Object.assign(faults, faultsOfDraft(form.draft, { limits, maySizesBeEmpty }));
  Object.assign(faults, faultsOfPairs(form.env, VARIABLE_RULES));
  return faults;
}

function faultsOfSource(source: Source, catalogue: Catalogue): Faults {
  const { kind, of } = source;
  const words = faultWords.source;
  if (kind === 'custom' && !catalogue.hasCustom) return { source: words.noCustom };
  if (kind === 'custom') {
    if (of.trim() === '') return { custom_image: words.noReference };
    return /\s/.test(of.trim()) || of.length > LONGEST_REFERENCE ? { custom_image: words.notReference } : {};
  }
  if (snapshotOf(source, catalogue) ?? imageOf(source, catalogue)) return {};
  if (kind === 'snapshot') return { source: words.noSnapshot };
  return { source: kind === 'template' ? words.noTemplate(of) : words.noImage(of) };
}

/** The request that a form without faults makes. */
export function requestOf(form: CreateForm, limits: LimitsView): CreateContainerDto {
  const { source, draft, role } = form;
  const name = form.name.trim();
  const stop = readSeconds(draft.auto_stop);
  const end = readSeconds(draft.auto_delete);
  const start = readStart(draft);
  const network = readNetwork(draft);
  const labels = valuesOf(draft.labels);
  const variables = valuesOf(form.env);
  const isUsualNetwork = source.kind !== 'template' && JSON.stringify(network) === JSON.stringify(limits.network);
  return {
    ...(source.kind === 'snapshot' && { snapshot: source.of }),
    ...(source.kind === 'custom' && { image: 'custom', custom_image: source.of.trim() }),
    ...((source.kind === 'image' || source.kind === 'template') && { image: source.of }),
    ...(name !== '' && { name }),
    ...(role !== '' && { role }),
    ...readGivenResources(draft),
    ...(Object.keys(labels).length > 0 && { labels }),
    ...(Object.keys(variables).length > 0 && { env: variables }),
    ...(network !== null && !isUsualNetwork && { network }),
    ...(stop !== null && { auto_stop_seconds: stop }),
    ...(draft.idle_action !== '' && { idle_action: draft.idle_action }),
    ...(end !== null && { auto_delete_seconds: end }),
    ...(draft.auto_start && { auto_start: true }),
    ...(start && { start }),
  };
}

/** Suggests a name such as `quiet-harbor-42`. @param taken names that it must not be */
export function suggestName(taken: ReadonlySet<string>, random: () => number = Math.random): string {
  const pick = (words: readonly string[]): string => words[Math.floor(random() * words.length)] ?? 'berth';
  const { qualities, things } = createWords.suggestions;
  const numbers = 90;
  for (;;) {
    const number = 10 + Math.floor(random() * numbers);
    const name = `${pick(qualities)}-${pick(things)}-${String(number)}`;
    if (!taken.has(name)) return name;
  }
}

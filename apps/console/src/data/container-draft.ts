import {
  type IdleAction,
  type LimitsView,
  needsShell,
  type NetworkPolicy,
  type Resources,
  splitCommand,
  type StartCommand,
  type StartCommandRequest,
} from '@berth/client';
import { faultWords } from '../words/faults';
import { type Faults, rangeInWords } from './faults';
import { faultsOfPairs, LABEL_RULES, type Pair, pairsOf } from './pairs';
import { type Read, readCpus, readSize, readTime, writeCpus, writeSize, writeTime } from './units';

/** What the forms of a creation, of settings and of templates have in common, as their fields show it. */
export interface Draft {
  /** In GB, or with its unit. */
  readonly memory: string;
  readonly cpus: string;
  readonly disk: string;
  /** Empty: as the template or the tier says. */
  readonly network: 'internet' | 'none' | 'allow' | '';
  /** An address a line. */
  readonly allow: string;
  readonly labels: readonly Pair[];
  /** A time with its units. Empty: as the tier says. */
  readonly auto_stop: string;
  /** Empty: as the tier says. */
  readonly idle_action: IdleAction | '';
  readonly auto_delete: string;
  /** Whether a preview starts it. */
  readonly auto_start: boolean;
  readonly command: string;
  readonly restart: 'on-failure' | 'never';
  readonly ready_port: string;
}

/** What a draft is made of; a container of the console's live list is one. */
interface Settings {
  readonly resources: Resources;
  readonly network?: NetworkPolicy;
  readonly labels: Readonly<Record<string, string>>;
  readonly auto_stop_seconds?: number | null;
  readonly idle_action?: IdleAction | null;
  readonly auto_delete_seconds?: number | null;
  readonly auto_start?: boolean;
  readonly start?: StartCommand | null;
}

/** What a creation gets that says nothing, before the tier's limits are known. */
const USUAL: Resources = { memory_mb: 1024, cpu_shares: 1000, disk_mb: 10_240 };

export function draftOf(container: Settings | undefined, limits: LimitsView | undefined): Draft {
  return {
    ...sizesOf(container?.resources ?? limits?.default ?? USUAL),
    ...networkDraft(container?.network ?? limits?.network ?? 'internet'),
    labels: pairsOf(container?.labels ?? {}),
    auto_stop: container?.auto_stop_seconds ? writeTime(container.auto_stop_seconds) : '',
    idle_action: container?.idle_action ?? '',
    auto_delete: container?.auto_delete_seconds ? writeTime(container.auto_delete_seconds) : '',
    auto_start: container?.auto_start ?? false,
    ...startDraft(container?.start),
  };
}

/** The fields of sizes; null ones are left empty. */
export function sizesOf(resources: { readonly [F in keyof Resources]: number | null }): Pick<
  Draft,
  'memory' | 'cpus' | 'disk'
> {
  const { memory_mb, cpu_shares, disk_mb } = resources;
  return {
    memory: memory_mb === null ? '' : writeSize(memory_mb),
    cpus: cpu_shares === null ? '' : writeCpus(cpu_shares),
    disk: disk_mb === null ? '' : writeSize(disk_mb),
  };
}

/** The fields of a network policy. @param network null: as the tier says */
export function networkDraft(network: NetworkPolicy | null): Pick<Draft, 'network' | 'allow'> {
  return network === null || typeof network === 'string'
    ? { network: network ?? '', allow: '' }
    : { network: 'allow', allow: network.allow.join('\n') };
}

/** The fields of a start command. */
export function startDraft(start: StartCommand | null | undefined): Pick<Draft, 'command' | 'restart' | 'ready_port'> {
  return {
    command: start ? writeCommand(start.command) : '',
    restart: start?.restart ?? 'on-failure',
    ready_port: String(start?.ready?.port ?? ''),
  };
}

/** The sizes: their field in the API and in a draft, and how a text is read. */
export const SIZES: readonly (readonly [keyof Resources, 'memory' | 'cpus' | 'disk', (text: string) => Read])[] = [
  ['memory_mb', 'memory', readSize],
  ['cpu_shares', 'cpus', readCpus],
  ['disk_mb', 'disk', readSize],
];

const TIMES: readonly (readonly ['auto_stop_seconds' | 'auto_delete_seconds', 'auto_stop' | 'auto_delete'])[] = [
  ['auto_stop_seconds', 'auto_stop'],
  ['auto_delete_seconds', 'auto_delete'],
];

/** The bounds of times that end a container, as the API has them, in seconds. */
const TIME_BOUNDS = { min: 60, max: 10 * 366 * 24 * 3600 };

interface DraftRules {
  readonly limits: LimitsView | undefined;
  /** Whether a size may be left to a template or the tier. */
  readonly maySizesBeEmpty: boolean;
}

/** Everything that is wrong with a draft, by the API's fields. */
export function faultsOfDraft(draft: Draft, { limits, maySizesBeEmpty }: DraftRules): Faults {
  const faults: Record<string, string> = {};
  for (const [field, own, read] of SIZES) {
    if (draft[own].trim() === '' && maySizesBeEmpty) continue;
    const bounds = limits && { min: limits.min[field], max: limits.max[field] };
    const fault = faultWithin(field, read(draft[own]), bounds);
    if (fault !== null) faults[field] = fault;
  }
  for (const [field, own] of TIMES) {
    if (draft[own].trim() === '') continue;
    const bounds = { min: TIME_BOUNDS.min, max: limits?.[field] ?? TIME_BOUNDS.max };
    const fault = faultWithin(field, readTime(draft[own]), bounds);
    if (fault !== null) faults[field] = fault;
  }
  const network = draft.network === 'allow' ? faultOfAllowed(linesOf(draft.allow)) : null;
  if (network !== null) faults['network'] = network;
  Object.assign(faults, faultsOfPairs(draft.labels, LABEL_RULES), faultsOfStart(draft));
  return faults;
}

interface Bounds {
  readonly min: number;
  readonly max: number;
}

function faultWithin(field: string, read: Read, bounds: Bounds | undefined): string | null {
  if ('fault' in read) return read.fault;
  if (!bounds || (read.value >= bounds.min && read.value <= bounds.max)) return null;
  const isTime = field.endsWith('_seconds');
  // Ten years bound any time, and are not worth saying.
  if (isTime && read.value < bounds.min) return faultWords.tooShort;
  return isTime ? faultWords.tooLong(writeTime(bounds.max)) : faultWords.tierAllows(rangeInWords(field, bounds) ?? '');
}

const ALLOWED = /^\d{1,3}(\.\d{1,3}){3}(\/\d{1,2})?:(\d{1,5}(\/(tcp|udp))?|\*)$/;
const MOST_ALLOWED = 32;

function faultOfAllowed(entries: readonly string[]): string | null {
  if (entries.length === 0) return faultWords.network.noAddress;
  if (entries.length > MOST_ALLOWED) return faultWords.network.tooMany(MOST_ALLOWED);
  const wrong = entries.find((entry) => !ALLOWED.test(entry));
  return wrong === undefined ? null : faultWords.network.notAddress(wrong);
}

function faultsOfStart({ command, ready_port }: Draft): Faults {
  if (command.trim() === '') return {};
  const faults: Record<string, string> = {};
  if (splitCommand(command) === null) faults['start'] = faultWords.start.openQuote;
  else if (needsShell(command)) faults['start'] = faultWords.start.needsShell;
  const port = ready_port.trim();
  const isPort = /^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65_535;
  if (port !== '' && !isPort) faults['ready_port'] = faultWords.start.port;
  return faults;
}

/** The sizes that are not left empty. @param draft without faults */
export function readGivenResources(draft: Draft): Partial<Resources> {
  const given = SIZES.flatMap(([field, own, read]): [string, number][] => {
    const found = read(draft[own]);
    return 'value' in found ? [[field, found.value]] : [];
  });
  return Object.fromEntries(given);
}

/** @returns null if it is left to the template or the tier */
export function readNetwork({ network, allow }: Pick<Draft, 'network' | 'allow'>): NetworkPolicy | null {
  if (network === '') return null;
  return network === 'allow' ? { allow: linesOf(allow) } : network;
}

export function readStart({ command, restart, ready_port }: Draft): StartCommandRequest | null {
  const words = splitCommand(command) ?? [];
  if (words.length === 0) return null;
  const port = Number(ready_port);
  return { command: words, restart, ...(port > 0 && { ready: { port } }) };
}

/** Seconds; null if the field is empty. */
export function readSeconds(text: string): number | null {
  const read = readTime(text);
  return 'value' in read ? read.value : null;
}

export const linesOf = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);

/** `key=value` by lines; the value may be left out. */
export function readPairs(text: string): Record<string, string> {
  return Object.fromEntries(
    linesOf(text).map((line) => {
      const [key = '', ...rest] = line.split('=');
      return [key.trim(), rest.join('=').trim()];
    }),
  );
}

export const writeCommand = (words: readonly string[]): string =>
  words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`)).join(' ');

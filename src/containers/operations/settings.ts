import { isDeepStrictEqual } from 'node:util';
import { noteProgram } from '../../audit';
import { invalidParameters } from '../../errors';
import { mergePatch } from '../../http';
import { faultOfEnvironment, type SettingsPatch } from '../dto/requests';
import type { ContainerRow } from '../model/container.entity';
import { faultOfLabels } from '../model/labels';
import { type AskedStart, faultOfStart, type StartCommand, startCommandOf } from '../model/start-command';
import type { Environments, NewEnvironment } from '../rows/environments';
import type { ContainerLimits } from './steps';

/** The settings that take no other Docker container. */
const PLAIN = [
  'name',
  'labels',
  'start',
  'autoStopSeconds',
  'idleAction',
  'autoDeleteSeconds',
  'autoStart',
  'lifetimeSeconds',
  'endAction',
] as const satisfies readonly (keyof ContainerRow)[];

/** The settings of a container after an update. */
export type Settings = ContainerLimits &
  Pick<ContainerRow, (typeof PLAIN)[number]> & {
    /** Absent if the variables stay. */
    readonly env?: NewEnvironment;
    /** A lifetime was sent: it counts anew, even if it is the present one. */
    readonly hasNewLifetime?: true;
  };

/** Whether an update changes the variables or a setting that takes no other Docker container. */
export function changesPlain(row: ContainerRow, wanted: Settings): boolean {
  return (
    wanted.env !== undefined ||
    movesEnd(row, wanted) ||
    PLAIN.some((name) => !isDeepStrictEqual(row[name], wanted[name]))
  );
}

function movesEnd({ status, endsAt }: ContainerRow, { hasNewLifetime, lifetimeSeconds }: Settings): boolean {
  return hasNewLifetime === true && (endsAt !== null || (status === 'running' && lifetimeSeconds !== null));
}

/**
 * Applies a patch to the settings of a row.
 *
 * @param patch its network is the one to be enforced
 * @throws DomainError `invalid_parameters` if the merged settings are not valid; SecretsError
 */
export function settingsAfter(row: ContainerRow, patch: SettingsPatch, environments: Environments): Settings {
  const { labels, start } = row;
  const merged = mergedSettings(patch.isWhole ? NONE : { labels, start, env: () => environments.open(row) }, patch);
  if (merged.start) noteProgram(merged.start.command);
  const env = merged.env && environments.replacement(row.id, merged.env);
  const { auto_stop_seconds = row.autoStopSeconds, auto_delete_seconds = row.autoDeleteSeconds } = patch;
  const { idle_action = row.idleAction, auto_start = row.autoStart } = patch;
  const { lifetime_seconds = row.lifetimeSeconds, end_action = row.endAction } = patch;
  return {
    name: patch.name ?? row.name,
    memoryMb: patch.memory_mb ?? row.memoryMb,
    cpuShares: patch.cpu_shares ?? row.cpuShares,
    diskMb: patch.disk_mb ?? row.diskMb,
    network: patch.network ?? row.network,
    autoStopSeconds: auto_stop_seconds,
    idleAction: idle_action,
    autoDeleteSeconds: auto_delete_seconds,
    autoStart: auto_start ?? false,
    lifetimeSeconds: lifetime_seconds,
    endAction: end_action ?? 'stop',
    ...(patch.lifetime_seconds !== undefined && { hasNewLifetime: true }),
    start: merged.start === undefined ? start : merged.start,
    labels: merged.labels ?? labels,
    // Equal variables count as absent.
    ...(env?.differsFrom(row) === true && { env }),
  };
}

type Pairs = Readonly<Record<string, string>>;

/** The settings of a container that a patch merges by key. */
export interface Merged {
  readonly env: Pairs;
  readonly labels: Pairs;
  readonly start: StartCommand | null;
}

const NONE = { env: () => ({}), labels: {}, start: null };

/**
 * Applies the members of a patch that are objects to a container's settings (RFC 7396). The patch alone is valid, but
 * the result may not be: it can have too many variables, or a start command without its program.
 *
 * @param current the settings; `env` decrypts the variables, and is called only if they are merged: null works without
 *   their key
 * @returns the changed members; absent ones are not in the patch
 * @throws DomainError `invalid_parameters`
 */
export function mergedSettings(
  current: Omit<Merged, 'env'> & { readonly env: () => Pairs },
  patch: SettingsPatch,
): Partial<Merged> {
  const merged: { -readonly [Key in keyof Merged]?: Merged[Key] } = {};
  if (patch.env !== undefined) merged.env = patch.env === null ? {} : (mergePatch(current.env(), patch.env) as Pairs);
  if (patch.labels !== undefined) merged.labels = (mergePatch(current.labels, patch.labels) ?? {}) as Pairs;
  const start = patch.start === undefined ? null : (mergePatch(current.start, patch.start) as AskedStart | null);
  const faults = {
    env: merged.env && faultOfEnvironment(merged.env),
    labels: merged.labels && faultOfLabels(merged.labels),
    start: start && faultOfStart(start),
  };
  const details = Object.entries(faults).flatMap(([field, message]) => (message == null ? [] : [{ field, message }]));
  if (details.length > 0) throw invalidParameters(details);
  if (patch.start !== undefined) merged.start = start && startCommandOf(start);
  return merged;
}

import { isDeepStrictEqual } from 'node:util';
import { noteProgram } from '../../audit';
import { invalidParameters } from '../../errors';
import { mergePatch } from '../../http';
import type { IdleAction } from '../../tiers';
import { faultOfEnvironment, type SettingsPatch } from '../dto/requests';
import type { ContainerRow } from '../model/container.entity';
import { faultOfLabels } from '../model/labels';
import { type AskedStart, faultOfStart, type StartCommand, startCommandOf } from '../model/start-command';
import type { Environments, NewEnvironment } from '../rows/environments';
import type { ContainerLimits } from './steps';

/** The settings that an update requests. The name may be unchanged; an absent property leaves its setting unchanged. */
export type Wanted = ContainerLimits & {
  readonly name: string;
  readonly env?: NewEnvironment;
  readonly autoStopSeconds?: number | null | undefined;
  readonly idleAction?: IdleAction | null | undefined;
  readonly autoDeleteSeconds?: number | null | undefined;
  readonly autoStart?: boolean | undefined;
  readonly start?: StartCommand | null | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
};

/**
 * The settings that a patch makes of a row's.
 *
 * @param patch its network is the one to be enforced
 * @throws DomainError `invalid_parameters` if the merged settings are not valid; SecretsError
 */
export function settingsAfter(row: ContainerRow, patch: SettingsPatch, environments: Environments): Wanted {
  const { labels, start } = row;
  const merged = mergedSettings(patch.isWhole ? NONE : { labels, start, env: () => environments.open(row) }, patch);
  if (merged.start) noteProgram(merged.start.command);
  const env = merged.env && environments.replacement(row.id, merged.env);
  return {
    name: patch.name ?? row.name,
    memoryMb: patch.memory_mb ?? row.memoryMb,
    cpuShares: patch.cpu_shares ?? row.cpuShares,
    diskMb: patch.disk_mb ?? row.diskMb,
    network: patch.network ?? row.network,
    autoStopSeconds: patch.auto_stop_seconds,
    idleAction: patch.idle_action,
    autoDeleteSeconds: patch.auto_delete_seconds,
    autoStart: patch.auto_start === null ? false : patch.auto_start,
    start: merged.start,
    labels: merged.labels,
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

/** Whether an update changes the name, the variables, the labels, the idle limits or the start command. */
export function changesSettings(row: ContainerRow, wanted: Wanted): boolean {
  const isSame = isDeepStrictEqual(endsAfter(row, wanted), endsAfter(row, {}));
  const isSameStart = wanted.start === undefined || isDeepStrictEqual(row.start, wanted.start);
  const isSameLabels = wanted.labels === undefined || isDeepStrictEqual(row.labels, wanted.labels);
  return row.name !== wanted.name || wanted.env !== undefined || !isSame || !isSameStart || !isSameLabels;
}

/** The columns about what happens to an unused container, and at its next use. */
type Ends = Pick<ContainerRow, 'autoStopSeconds' | 'idleAction' | 'autoDeleteSeconds' | 'autoStart'>;

export function endsAfter(row: ContainerRow, wanted: { readonly [F in keyof Ends]?: Ends[F] | undefined }): Ends {
  const { autoStopSeconds = row.autoStopSeconds, autoDeleteSeconds = row.autoDeleteSeconds } = wanted;
  const { idleAction = row.idleAction, autoStart = row.autoStart } = wanted;
  return { autoStopSeconds, idleAction, autoDeleteSeconds, autoStart };
}

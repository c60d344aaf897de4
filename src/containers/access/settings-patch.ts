import { invalidParameters } from '../../errors';
import { mergePatch } from '../../http';
import { faultOfEnvironment, type PatchContainerDto } from '../dto/requests';
import { faultOfLabels } from '../model/labels';
import { type AskedStart, faultOfStart, type StartCommand, startCommandOf } from '../model/start-command';

type Pairs = Readonly<Record<string, string>>;

/** The settings of a container that a patch merges by key. */
export interface Merged {
  readonly env: Pairs;
  readonly labels: Pairs;
  readonly start: StartCommand | null;
}

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
  patch: Readonly<PatchContainerDto>,
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

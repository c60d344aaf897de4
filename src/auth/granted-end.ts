import { invalidParameters } from '../errors';

const DAY_MS = 24 * 3_600_000;

/**
 * When a token ends that another token asks for: at the latest with that one, or whoever holds a token for a day could hold
 * one for ever. It is never revoked with it.
 *
 * @param own end of the token that asks, null if it has none
 * @param days as asked for
 * @returns null: it does not expire
 * @throws DomainError `invalid_parameters`
 */
export function grantedEnd({
  own,
  days,
  now,
}: {
  own: Date | null;
  days: number | null | undefined;
  now: Date;
}): Date | null {
  const asked = days ? new Date(now.getTime() + days * DAY_MS) : null;
  if (!own) return asked;
  if (!asked) return own;
  if (asked <= own) return asked;
  const message = `must not reach beyond the end of the token that asks (${own.toISOString()}); left out, both end together`;
  throw invalidParameters([{ field: 'expires_in', message }]);
}

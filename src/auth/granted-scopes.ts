import { DomainError } from '../errors';
import { effectiveScopes, RouteScope, Scope } from './principal';

const BY_DEFAULT: readonly RouteScope[] = ['read', 'write'];

/**
 * The scopes of a token that another token asks for: never more than its own; what it may of the usual ones if it names none.
 *
 * @throws DomainError `insufficient_permissions`
 */
export function grantedScopes({
  own,
  asked,
}: {
  own: readonly Scope[];
  asked: readonly RouteScope[] | undefined;
}): RouteScope[] {
  const held = effectiveScopes(own);
  if (!asked) return BY_DEFAULT.filter((scope) => held.has(scope));
  if (!asked.every((scope) => held.has(scope))) throw new DomainError('insufficient_permissions');
  return [...asked];
}

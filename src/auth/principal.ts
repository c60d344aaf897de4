import { invalidParameters } from '../errors';
import { insufficientScope } from './bearer';

/**
 * What a token may be used for. `exec`: what happens inside containers. `agent` tokens are bound to one agent and open
 * no route of the API.
 */
export const SCOPES = ['read', 'write', 'exec', 'admin', 'agent'] as const;
export type Scope = (typeof SCOPES)[number];

/** What a route can ask for. */
export type RouteScope = Exclude<Scope, 'agent'>;

/** Not `exec`: an administrator must not see inside users' containers. */
const IMPLIED_BY_ADMIN: readonly RouteScope[] = ['read', 'write'];

/** Who is calling, and with what right. */
export interface Principal {
  readonly userId: string;
  readonly username: string;
  readonly tier: string;
  readonly tokenId: string;
  /** As the token holds them; ask {@link holdsScope}, which knows what they imply. */
  readonly scopes: readonly Scope[];
  /** The one agent that the token is for; null for tokens of the API. */
  readonly agentId: string | null;
  /** When a guest's session ends; null for users without one. */
  readonly sessionExpiresAt: Date | null;
  /** null: the token does not expire. */
  readonly tokenExpiresAt: Date | null;
}

/** The scopes that a token amounts to: `admin` implies `read` and `write`, not `exec`; `agent` excludes all others. */
export function effectiveScopes(scopes: readonly Scope[]): ReadonlySet<RouteScope> {
  if (scopes.includes('agent')) return new Set();
  const held = new Set(scopes.filter((scope) => scope !== 'agent'));
  return held.has('admin') ? new Set([...held, ...IMPLIED_BY_ADMIN]) : held;
}

/** Whether the principal's token opens what asks for `scope`. */
export function holdsScope(principal: Pick<Principal, 'scopes'>, scope: RouteScope): boolean {
  const { scopes } = principal;
  if (scopes.includes('agent')) return false;
  return scopes.includes(scope) || (IMPLIED_BY_ADMIN.includes(scope) && scopes.includes('admin'));
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the guard; absent on public routes and before authentication. */
    principal?: Principal;
    /** The handler that the guard has let the request through to. */
    admittedTo?: object;
    /** Awaited by the guard once it knows who is calling; what it throws is the answer. */
    onAuthenticated?: (principal: Principal) => Promise<void>;
  }
}

/** What a token is for unless it is asked for less or more: all that one does with one's own. */
export const USUAL_SCOPES: readonly RouteScope[] = ['read', 'write', 'exec'];

/**
 * The scopes of a token that another token asks for: never more than its own; what it may of the usual ones if it names
 * none.
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
  if (!asked) return USUAL_SCOPES.filter((scope) => held.has(scope));
  const lacking = asked.filter((scope) => !held.has(scope));
  if (lacking.length > 0) throw insufficientScope(...lacking);
  return [...asked];
}

const DAY_MS = 24 * 3_600_000;

/**
 * When a token ends that another token asks for: at the latest with that one, or with the session of a guest. Otherwise
 * a token of a day could make one without an end. It is never revoked with it.
 *
 * @param own the latest end that may be, null if there is none
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
  const message = `must not reach beyond the end of the token that asks, or of a guest's session (${own.toISOString()}); left out, both end together`;
  throw invalidParameters([{ field: 'expires_in', message }]);
}

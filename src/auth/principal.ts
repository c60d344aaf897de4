import type { FastifyRequest } from 'fastify';
import { invalidParameters } from '../errors';
import { requestContext } from '../logging';
import { insufficientScope } from './bearer';

/**
 * The scopes of tokens. `exec` is for actions inside containers. `agent` tokens are bound to one agent and open no
 * route of the API.
 */
export const SCOPES = ['read', 'write', 'exec', 'admin', 'agent'] as const;
export type Scope = (typeof SCOPES)[number];

/** Scopes that a route can require. */
export type RouteScope = Exclude<Scope, 'agent'>;

/** `exec` is missing: an administrator must not see inside users' containers. */
const IMPLIED_BY_ADMIN: readonly RouteScope[] = ['read', 'write'];

/** The container that a token is limited to. */
export interface BoundContainer {
  readonly id: string;
  /** Whether the token also opens forks of the container, and their forks, and may make them. */
  readonly withForks: boolean;
}

/** The caller and the rights of its token. */
export interface Principal {
  readonly userId: string;
  readonly username: string;
  readonly tier: string;
  readonly tokenId: string;
  /** The scopes stored with the token; {@link holdsScope} adds those that they imply. */
  readonly scopes: readonly Scope[];
  /** The agent that the token belongs to; null for API tokens. */
  readonly agentId: string | null;
  /** null if the token opens all that its user has. */
  readonly boundTo: BoundContainer | null;
  /** When a guest's session ends; null for users without one. */
  readonly sessionExpiresAt: Date | null;
  /** null if the token does not expire. */
  readonly tokenExpiresAt: Date | null;
}

/** The scopes that a token grants: `admin` implies `read` and `write`, not `exec`; `agent` excludes all others. */
export function effectiveScopes(scopes: readonly Scope[]): ReadonlySet<RouteScope> {
  if (scopes.includes('agent')) return new Set();
  const held = new Set(scopes.filter((scope) => scope !== 'agent'));
  return held.has('admin') ? new Set([...held, ...IMPLIED_BY_ADMIN]) : held;
}

/** True if the principal's token grants `scope`. */
export function holdsScope(principal: Pick<Principal, 'scopes'>, scope: RouteScope): boolean {
  const { scopes } = principal;
  if (scopes.includes('agent')) return false;
  return scopes.includes(scope) || (IMPLIED_BY_ADMIN.includes(scope) && scopes.includes('admin'));
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the guard; absent on public routes and before authentication. */
    principal?: Principal;
    /** The handler for which the guard has admitted the request. */
    admittedTo?: object;
    /**
     * Awaited by guards after authentication; an error that it throws is the answer. `by` says whether the token of
     * the request's header was verified, or a link in its place.
     */
    onAuthenticated?: (principal: Principal, by: 'token' | 'link') => Promise<void>;
  }
}

/** Makes the principal the request's caller: for its handler, the log and the audit. */
export function setCaller(request: FastifyRequest, principal: Principal): void {
  request.principal = principal;
  const log = requestContext.getStore();
  if (log) log.userId = principal.userId;
}

/** Default scopes of a token: everything that users may do with their own resources. */
export const USUAL_SCOPES: readonly RouteScope[] = ['read', 'write', 'exec'];

/**
 * The scopes of a token that is created with another one: never more than the other's. By default, the usual scopes
 * that the other one holds.
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

/** The first of several ends; null if there is none. */
export function earliest(ends: readonly (Date | null)[]): Date | null {
  const times = ends.filter((end) => end !== null).map(Number);
  return times.length > 0 ? new Date(Math.min(...times)) : null;
}

const DAY_MS = 24 * 3_600_000;

/**
 * The expiry of a token that is created with another one: at the latest that of the other, or the end of a guest's
 * session. Otherwise a token of a day could create one that never expires. Revoking the creating token does not
 * revoke the created one.
 *
 * @param own the latest possible expiry, null if unlimited
 * @param days the requested lifetime
 * @returns null if the token does not expire
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
  const message = `must not exceed the lifetime of the calling token or of the guest session (${own.toISOString()}); omit it to use that limit`;
  throw invalidParameters([{ field: 'expires_in', message }]);
}

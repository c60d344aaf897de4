/** What a token may be used for. `agent` tokens are bound to one agent and open no route of the API. */
export const SCOPES = ['read', 'write', 'admin', 'agent'] as const;
export type Scope = (typeof SCOPES)[number];

/** What a route can ask for. */
export type RouteScope = Exclude<Scope, 'agent'>;

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

/** The scopes that a token amounts to: `admin` implies `read` and `write`, `agent` excludes all others. */
export function effectiveScopes(scopes: readonly Scope[]): ReadonlySet<RouteScope> {
  if (scopes.includes('agent')) return new Set();
  const held = new Set(scopes.filter((scope) => scope !== 'agent'));
  return held.has('admin') ? new Set([...held, 'read', 'write']) : held;
}

/** Whether the principal's token opens what asks for `scope`. */
export function holdsScope(principal: Pick<Principal, 'scopes'>, scope: RouteScope): boolean {
  const { scopes } = principal;
  if (scopes.includes('agent')) return false;
  return scopes.includes(scope) || (scope !== 'admin' && scopes.includes('admin'));
}

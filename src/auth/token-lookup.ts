import { type Database, type Lookup, readTime } from '../database';
import type { Principal, Scope } from './principal';

export interface FoundToken {
  readonly principal: Principal;
  readonly revoked: boolean;
  readonly suspended: boolean;
}

/** A row, in the order of the columns below. */
type Row = readonly [
  ...[tokenId: string, userId: string, scopes: string, agentId: string | null, expiresAt: unknown, revokedAt: unknown],
  ...[containerId: string | null, withForks: unknown],
  ...[username: string, tier: string, sessionExpiresAt: unknown, suspendedAt: unknown, deletedAt: unknown],
];

/** Finds a token and its user with one indexed query. Runs for every request. */
export class TokenLookup {
  private readonly find: Lookup;
  private readonly findById: Lookup;

  constructor(database: Database) {
    const query = {
      columns: [
        't.id',
        't.user_id',
        't.scopes',
        't.agent_id',
        't.expires_at',
        't.revoked_at',
        't.container_id',
        't.with_forks',
        'u.username',
        'u.tier',
        'u.session_expires_at',
        'u.suspended_at',
        'u.deleted_at',
      ],
      from: 'tokens t INNER JOIN users u ON u.id = t.user_id',
    };
    this.find = database.lookup({ ...query, key: 't.hash' });
    this.findById = database.lookup({ ...query, key: 't.id' });
  }

  /** @returns null if there is no such token. Revoked and expired ones are returned; the caller checks them. */
  async byHash(hash: string): Promise<FoundToken | null> {
    return found((await this.find(hash)) as Row | null);
  }

  /** Like {@link byHash}. @param id a UUID */
  async byId(id: string): Promise<FoundToken | null> {
    return found((await this.findById(id)) as Row | null);
  }
}

function found(row: Row | null): FoundToken | null {
  if (!row) return null;
  const [tokenId, userId, scopes, agentId, expiresAt, revokedAt, containerId, withForks, ...user] = row;
  const [username, tier, sessionExpiresAt, suspendedAt, deletedAt] = user;
  return {
    // A token that was issued while its user was being deleted is invalid too.
    revoked: revokedAt !== null || deletedAt !== null,
    suspended: suspendedAt !== null,
    principal: {
      userId,
      username,
      tier,
      tokenId,
      agentId,
      // SQLite has numbers for booleans.
      boundTo: containerId === null ? null : { id: containerId, withForks: Boolean(withForks) },
      scopes: JSON.parse(scopes) as Scope[],
      sessionExpiresAt: readTime(sessionExpiresAt),
      tokenExpiresAt: readTime(expiresAt),
    },
  };
}

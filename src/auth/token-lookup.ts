import { EntityMetadata } from 'typeorm';
import { Database } from '../database';
import { Principal, Scope } from './principal';
import { TokenEntity } from './token.entity';
import { UserEntity } from './user.entity';

export interface FoundToken {
  readonly principal: Principal;
  readonly revoked: boolean;
}

interface Row {
  readonly token_id: string;
  readonly user_id: string;
  readonly username: string;
  readonly tier: string;
  readonly scopes: string;
  readonly agent_id: string | null;
  readonly expires_at: unknown;
  readonly revoked_at: unknown;
  readonly session_expires_at: unknown;
}

/**
 * Finds a token and its user by one indexed query. Every request makes it, so its text is written once and no entity is
 * made of the answer: building the query and hydrating entities cost more than the database's own work.
 */
export class TokenLookup {
  private query: { readonly sql: string; readonly tokens: EntityMetadata; readonly users: EntityMetadata } | undefined;

  constructor(private readonly database: Database) {}

  /** @returns null if there is no such token. Revoked and expired ones are found; the caller decides. */
  async byHash(hash: string): Promise<FoundToken | null> {
    const { sql, tokens, users } = this.prepared();
    const [row] = await this.database.manager.query<Row[]>(sql, [hash]);
    if (!row) return null;
    return {
      revoked: row.revoked_at !== null,
      principal: {
        userId: row.user_id,
        username: row.username,
        tier: row.tier,
        tokenId: row.token_id,
        scopes: JSON.parse(row.scopes) as Scope[],
        agentId: row.agent_id,
        sessionExpiresAt: this.toDate(users, 'sessionExpiresAt', row.session_expires_at),
        tokenExpiresAt: this.toDate(tokens, 'expiresAt', row.expires_at),
      },
    };
  }

  private prepared(): NonNullable<TokenLookup['query']> {
    if (this.query) return this.query;
    const { dataSource } = this.database.manager;
    const placeholder = dataSource.driver.createParameter('hash', 0);
    const sql =
      'SELECT t.id AS token_id, t.user_id, t.scopes, t.agent_id, t.expires_at, t.revoked_at, ' +
      'u.username, u.tier, u.session_expires_at ' +
      `FROM tokens t INNER JOIN users u ON u.id = t.user_id WHERE t.hash = ${placeholder}`;
    this.query = { sql, tokens: dataSource.getMetadata(TokenEntity), users: dataSource.getMetadata(UserEntity) };
    return this.query;
  }

  /** SQLite keeps times as text, PostgreSQL gives dates; the driver knows. */
  private toDate(entity: EntityMetadata, property: string, value: unknown): Date | null {
    const column = entity.findColumnWithPropertyName(property);
    if (!column) throw new Error(`no column for ${entity.name}.${property}`);
    return this.database.manager.dataSource.driver.prepareHydratedValue(value, column) as Date | null;
  }
}

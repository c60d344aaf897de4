import type * as api from './api-types.ts';
import { type CallOptions, type Http, path } from './http.ts';
import { Pages } from './pages.ts';

/** The user's own tokens. */
export class Tokens {
  constructor(private readonly http: Http) {}

  /** The token itself is in this answer alone. */
  create(body: api.CreateTokenDto, { signal }: CallOptions = {}): Promise<api.CreatedTokenView> {
    return this.http.json('POST', '/api/tokens', { json: body, signal });
  }

  async list({ signal }: CallOptions = {}): Promise<api.TokenView[]> {
    return (await this.http.json<api.TokenListView>('GET', '/api/tokens', { signal })).tokens;
  }

  revoke(id: string, { signal }: CallOptions = {}): Promise<api.TokenRevokedView> {
    return this.http.json('DELETE', path`/api/tokens/${id}`, { signal });
  }
}

/** The user's own agents, online or not. They are stopped and deleted as containers are, by their ids. */
export class Agents {
  constructor(private readonly http: Http) {}

  /** The agent's token is in this answer alone. */
  create(body: api.CreateAgentDto, { signal }: CallOptions = {}): Promise<api.AgentCreatedView> {
    return this.http.json('POST', '/api/agents', { json: body, signal });
  }

  async list({ signal }: CallOptions = {}): Promise<api.AgentView[]> {
    return (await this.http.json<api.AgentListView>('GET', '/api/agents', { signal })).agents;
  }
}

export interface AuditOptions extends CallOptions {
  readonly container_id?: string;
  readonly action?: string;
  /** Everybody's; takes the scope `admin`. */
  readonly all?: boolean;
  readonly user_id?: string;
  readonly limit?: number;
}

/** What the user is, has and may ask for. */
export class Account {
  constructor(private readonly http: Http) {}

  /** User, tier, limits, usage, scopes and session. */
  me({ signal }: CallOptions = {}): Promise<api.MeView> {
    return this.http.json('GET', '/api/me', { signal });
  }

  /** What the containers used, by day. @param options from, to: days such as `2026-11-01`, both included */
  async usage({ signal, ...query }: CallOptions & { readonly from?: string; readonly to?: string } = {}): Promise<
    api.DailyUsageView[]
  > {
    return (await this.http.json<api.UsageView>('GET', '/api/usage', { query, signal })).usage;
  }

  async tiers({ signal }: CallOptions = {}): Promise<api.TierView[]> {
    return (await this.http.json<api.TierListView>('GET', '/api/tiers', { signal })).tiers;
  }

  async images({ signal }: CallOptions = {}): Promise<api.ImageView[]> {
    return (await this.http.json<api.ImageListView>('GET', '/api/images', { signal })).images;
  }

  async roles({ signal }: CallOptions = {}): Promise<api.RoleView[]> {
    return (await this.http.json<api.RoleListView>('GET', '/api/roles', { signal })).roles;
  }

  /** Logs a guest in, without a token; the answer has one. */
  loginAsGuest(username: string, { signal }: CallOptions = {}): Promise<api.GuestLoginView> {
    return this.http.json('POST', '/api/auth/guest', { json: { username }, signal });
  }

  /** What was done, newest first. */
  audit({ signal, ...query }: AuditOptions = {}): Pages<api.AuditEntryView, api.AuditListView> {
    return new Pages(async (cursor) => {
      const answer = await this.http.json<api.AuditListView>('GET', '/api/audit', {
        query: { ...query, cursor },
        signal,
      });
      return { items: answer.entries, answer, nextCursor: answer.next_cursor };
    });
  }
}

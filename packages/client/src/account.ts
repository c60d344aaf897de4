import type * as api from './api-types.ts';
import { type CallOptions, type Http, path } from './http.ts';
import { type Pages, pagesOf } from './pages.ts';

/** The user's own tokens. */
export class Tokens {
  constructor(private readonly http: Http) {}

  /** Creates a token. Its text is only in this answer. */
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

/** The user's own agents, online or not. `Containers` stops and deletes them, by their ids. */
export class Agents {
  constructor(private readonly http: Http) {}

  /** Creates an agent. Its token is only in this answer. */
  create(body: api.CreateAgentDto, { signal }: CallOptions = {}): Promise<api.AgentCreatedView> {
    return this.http.json('POST', '/api/agents', { json: body, signal });
  }

  async list({ signal }: CallOptions = {}): Promise<api.AgentView[]> {
    return (await this.http.json<api.AgentListView>('GET', '/api/agents', { signal })).agents;
  }
}

export interface AuditOptions extends CallOptions {
  readonly container_id?: string;
  /** Such as `container.start`, or `container` for all actions on containers. */
  readonly action?: string;
  /** `ok`, `pending`, `failed` (neither of the two), or the code of an error. */
  readonly outcome?: string;
  /** Begun at this time or later, such as `2026-11-26T08:00:00Z`. */
  readonly from?: string;
  /** Begun before this time. */
  readonly to?: string;
  /** Size of a page: 1 to 200. */
  readonly limit?: number;
}

/** The user's account, and the available tiers, images and roles. */
export class Account {
  constructor(private readonly http: Http) {}

  /** User, tier, limits, usage, scopes and session. */
  me({ signal }: CallOptions = {}): Promise<api.MeView> {
    return this.http.json('GET', '/api/me', { signal });
  }

  /** The containers' usage by day. @param options from, to: days such as `2026-11-01`, both included */
  async usage({ signal, ...query }: CallOptions & { readonly from?: string; readonly to?: string } = {}): Promise<
    api.DailyUsageView[]
  > {
    return (await this.http.json<api.UsageView>('GET', '/api/usage', { query, signal })).usage;
  }

  async tiers({ signal }: CallOptions = {}): Promise<api.TierView[]> {
    return (await this.http.json<api.TierListView>('GET', '/api/tiers', { signal })).tiers;
  }

  async images(options: CallOptions = {}): Promise<api.ImageView[]> {
    return (await this.imageCatalog(options)).images;
  }

  /** The images, and whether a container can be made of another one. */
  imageCatalog({ signal }: CallOptions = {}): Promise<api.ImageListView> {
    return this.http.json('GET', '/api/images', { signal });
  }

  async roles({ signal }: CallOptions = {}): Promise<api.RoleView[]> {
    return (await this.http.json<api.RoleListView>('GET', '/api/roles', { signal })).roles;
  }

  /** Logs a guest in. Needs no token; the answer has one. */
  loginAsGuest(username: string, { signal }: CallOptions = {}): Promise<api.GuestLoginView> {
    return this.http.json('POST', '/api/auth/guest', { json: { username }, signal });
  }

  /** Creates a code for one sign-in of this user, for use in a link. */
  createSignInCode({ signal, ...body }: api.CreateSignInCodeDto & CallOptions = {}): Promise<api.SignInCodeView> {
    return this.http.json('POST', '/api/auth/codes', { json: body, signal });
  }

  /** The ways to sign in that the server has. Needs no token. */
  signInMethods({ signal }: CallOptions = {}): Promise<api.SignInMethodsView> {
    return this.http.json('GET', '/api/auth/methods', { signal });
  }

  /** Signs in with a code. Needs no token; the answer has one. */
  signIn(code: string, { signal }: CallOptions = {}): Promise<api.SignInView> {
    return this.http.json('POST', '/api/auth/sign-in', { json: { code }, signal });
  }

  /** The user's actions, and actions of others on the user's resources, newest first. */
  audit({ signal, ...query }: AuditOptions = {}): Pages<api.AuditEntryView, api.AuditListView> {
    const items = (answer: api.AuditListView): api.AuditEntryView[] => answer.entries;
    return pagesOf(this.http, '/api/audit', { query, signal }, items);
  }
}

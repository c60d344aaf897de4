import type * as api from './api-types.ts';
import { type CallOptions, type Http, path, type Query } from './http.ts';
import { Pages } from './pages.ts';

interface Answer {
  readonly next_cursor: string | null;
}

/** `/api/admin`, for tokens with the scope `admin`. */
export class Admin {
  constructor(private readonly http: Http) {}

  users({
    signal,
    ...query
  }: CallOptions & { readonly username?: string; readonly tier?: string; readonly limit?: number } = {}): Pages<
    api.AdminUserView,
    api.AdminUserListView
  > {
    return this.pages('/api/admin/users', { query, signal }, (answer: api.AdminUserListView) => answer.users);
  }

  updateUser(id: string, changes: api.UpdateUserDto, { signal }: CallOptions = {}): Promise<api.UserUpdatedView> {
    return this.http.json('PATCH', path`/api/admin/users/${id}`, { json: changes, isRepeatable: true, signal });
  }

  deleteUser(id: string, { signal }: CallOptions = {}): Promise<api.UserDeletedView> {
    return this.http.json('DELETE', path`/api/admin/users/${id}`, { signal });
  }

  revokeTokensOf(id: string, { signal }: CallOptions = {}): Promise<api.TokensRevokedView> {
    return this.http.json('POST', path`/api/admin/users/${id}/revoke-tokens`, { isRepeatable: true, signal });
  }

  revokeToken(id: string, { signal }: CallOptions = {}): Promise<api.AdminTokenRevokedView> {
    return this.http.json('DELETE', path`/api/admin/tokens/${id}`, { signal });
  }

  containers({
    signal,
    ...query
  }: CallOptions & {
    readonly user_id?: string;
    readonly status?: api.ListedStatus;
    readonly limit?: number;
  } = {}): Pages<api.AnyContainerView, api.AdminContainerListView> {
    const items = (answer: api.AdminContainerListView): api.AnyContainerView[] => answer.containers;
    return this.pages('/api/admin/containers', { query, signal }, items);
  }

  stopContainer(id: string, { signal }: CallOptions = {}): Promise<api.ContainerStoppedView> {
    return this.http.json('POST', path`/api/admin/containers/${id}/stop`, { isRepeatable: true, signal });
  }

  deleteContainer(
    id: string,
    { force, signal }: CallOptions & { readonly force?: boolean } = {},
  ): Promise<api.ContainerDeletedView> {
    return this.http.json('DELETE', path`/api/admin/containers/${id}`, { query: { force }, signal });
  }

  /** What the machine has, and what runs there. */
  capacity({ signal }: CallOptions = {}): Promise<api.CapacityView> {
    return this.http.json('GET', '/api/admin/capacity', { signal });
  }

  /** Compares all containers with Docker, and repairs the differences. */
  reconcile({ signal }: CallOptions = {}): Promise<api.SweepReport> {
    return this.http.json('POST', '/api/admin/reconcile', { isRepeatable: true, signal });
  }

  pullImage(name: string, { signal }: CallOptions = {}): Promise<api.ImagePullView> {
    return this.http.json('POST', path`/api/admin/images/${name}/pull`, { isRepeatable: true, signal });
  }

  usage({
    signal,
    ...query
  }: CallOptions & { readonly from?: string; readonly to?: string; readonly user_id?: string } = {}): Pages<
    api.UserDailyUsageView,
    api.UsageListView
  > {
    return this.pages('/api/admin/usage', { query, signal }, (answer: api.UsageListView) => answer.usage);
  }

  private pages<Item, Whole extends Answer>(
    route: string,
    { query, signal }: CallOptions & { readonly query: Query },
    items: (answer: Whole) => Item[],
  ): Pages<Item, Whole> {
    return new Pages(async (cursor) => {
      const answer = await this.http.json<Whole>('GET', route, { query: { ...query, cursor }, signal });
      return { items: items(answer), answer, nextCursor: answer.next_cursor };
    });
  }
}

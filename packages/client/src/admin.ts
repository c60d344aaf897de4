import type { AuditOptions } from './account.ts';
import type * as api from './api-types.ts';
import { type CallOptions, type Http, path } from './http.ts';
import { type Pages, pagesOf } from './pages.ts';
import { Webhooks } from './webhooks.ts';

/** `/api/admin`, for tokens with the scope `admin`. */
export class Admin {
  /** Global webhooks, which receive the events of all users. */
  readonly webhooks: Webhooks;

  constructor(private readonly http: Http) {
    this.webhooks = new Webhooks(http, '/api/admin/webhooks');
  }

  /** @param options.search a part of the name; `username` is the exact one */
  users({
    signal,
    ...query
  }: CallOptions & {
    readonly username?: string;
    readonly search?: string;
    readonly tier?: string;
    readonly limit?: number;
  } = {}): Pages<api.AdminUserView, api.AdminUserListView> {
    return pagesOf(this.http, '/api/admin/users', { query, signal }, (answer: api.AdminUserListView) => answer.users);
  }

  /**
   * Creates a user with a first token. Its text is only in this answer.
   *
   * @throws BerthError `username_taken`, `invalid_parameters`
   */
  createUser(user: api.CreateUserDto, { signal }: CallOptions = {}): Promise<api.UserCreatedView> {
    return this.http.json('POST', '/api/admin/users', { json: user, signal });
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

  /**
   * @param options.search a part of the name of the container, its image, its user or its node, or the beginning of its
   *   id
   * @param options.node the name or id of a machine of a cluster
   */
  containers({
    signal,
    ...query
  }: CallOptions & {
    readonly user_id?: string;
    readonly status?: api.ListedStatus;
    readonly search?: string;
    readonly node?: string;
    readonly limit?: number;
  } = {}): Pages<api.AnyContainerView, api.AdminContainerListView> {
    const items = (answer: api.AdminContainerListView): api.AnyContainerView[] => answer.containers;
    return pagesOf(this.http, '/api/admin/containers', { query, signal }, items);
  }

  snapshots({ signal, ...query }: CallOptions & { readonly user_id?: string; readonly limit?: number } = {}): Pages<
    api.AnySnapshotView,
    api.AdminSnapshotListView
  > {
    const items = (answer: api.AdminSnapshotListView): api.AnySnapshotView[] => answer.snapshots;
    return pagesOf(this.http, '/api/admin/snapshots', { query, signal }, items);
  }

  deleteSnapshot(id: string, { signal }: CallOptions = {}): Promise<api.SnapshotDeletedView> {
    return this.http.json('DELETE', path`/api/admin/snapshots/${id}`, { signal });
  }

  /** The templates by name. */
  async templates({ signal }: CallOptions = {}): Promise<api.TemplateView[]> {
    return (await this.http.json<api.TemplateListView>('GET', '/api/admin/templates', { signal })).templates;
  }

  template(name: string, { signal }: CallOptions = {}): Promise<api.TemplateView> {
    return this.http.json('GET', path`/api/admin/templates/${name}`, { signal });
  }

  /**
   * Creates or replaces a template: creations name it as their image. Resolves once the files of a snapshot are copied.
   * Containers that were created from the template before keep what they have.
   *
   * @throws BerthError `invalid_parameters`, `image_name_taken`, `snapshot_not_found`, `snapshot_not_ready`,
   *   `template_failed`
   */
  putTemplate(name: string, template: api.PutTemplateDto, { signal }: CallOptions = {}): Promise<api.TemplatePutView> {
    return this.http.json('PUT', path`/api/admin/templates/${name}`, { json: template, signal });
  }

  deleteTemplate(name: string, { signal }: CallOptions = {}): Promise<api.TemplateDeletedView> {
    return this.http.json('DELETE', path`/api/admin/templates/${name}`, { signal });
  }

  /** @throws BerthError `user_suspended`, `guest_session_expired` (its user's), `no_capacity`, `start_failed` */
  startContainer(id: string, { signal }: CallOptions = {}): Promise<api.ContainerStartedView> {
    return this.http.json('POST', path`/api/admin/containers/${id}/start`, { isRepeatable: true, signal });
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

  /**
   * Moves a container with its data to another machine of a cluster; a running one is stopped and started again.
   * Resolves once all data is moved.
   *
   * @param options.node the machine's name or id; by default the one with the most room
   * @throws BerthError `no_capacity`, `same_node`, `wrong_pool`, `not_clustered`, `move_failed`: the container was
   *   not moved
   */
  moveContainer(
    id: string,
    { node, signal }: CallOptions & { readonly node?: string } = {},
  ): Promise<api.ContainerMovedView> {
    return this.http.json('POST', path`/api/admin/containers/${id}/move`, {
      json: node === undefined ? {} : { node },
      signal,
    });
  }

  /** The machine's resources and their use. */
  capacity({ signal }: CallOptions = {}): Promise<api.CapacityView> {
    return this.http.json('GET', '/api/admin/capacity', { signal });
  }

  /** The last day of {@link capacity}, a sample in five minutes. */
  capacityHistory({ signal }: CallOptions = {}): Promise<api.CapacityHistoryView> {
    return this.http.json('GET', '/api/admin/capacity/history', { signal });
  }

  /** Compares all containers with Docker and repairs the differences. */
  reconcile({ signal }: CallOptions = {}): Promise<api.SweepReport> {
    return this.http.json('POST', '/api/admin/reconcile', { isRepeatable: true, signal });
  }

  /** The containers that are started before a user asks for one. */
  warm({ signal }: CallOptions = {}): Promise<api.WarmPoolView> {
    return this.http.json('GET', '/api/admin/warm', { signal });
  }

  /** Removes all warm slots that no creation has taken; new ones are made as usual. */
  emptyWarm({ signal }: CallOptions = {}): Promise<api.WarmPoolEmptiedView> {
    return this.http.json('DELETE', '/api/admin/warm', { signal });
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
    return pagesOf(this.http, '/api/admin/usage', { query, signal }, (answer: api.UsageListView) => answer.usage);
  }

  /** The actions of all users, or of one user and on that user's resources, newest first. */
  audit({ signal, user_id, ...query }: AuditOptions & { readonly user_id?: string } = {}): Pages<
    api.AuditEntryView,
    api.AuditListView
  > {
    const whose = user_id === undefined ? { all: true } : { user_id };
    const items = (answer: api.AuditListView): api.AuditEntryView[] => answer.entries;
    return pagesOf(this.http, '/api/audit', { query: { ...query, ...whose }, signal }, items);
  }

  /** The machines of a cluster by name; empty on a single machine. */
  async nodes({ signal }: CallOptions = {}): Promise<api.NodeView[]> {
    return (await this.http.json<api.NodeListView>('GET', '/api/admin/nodes', { signal })).nodes;
  }

  /** The last day of a machine of a cluster, a sample in five minutes. @throws BerthError `node_not_found` */
  nodeHistory(name: string, { signal }: CallOptions = {}): Promise<api.CapacityHistoryView> {
    return this.http.json('GET', path`/api/admin/nodes/${name}/history`, { signal });
  }

  /**
   * Drains a machine: it gets no containers and starts none; running ones continue.
   *
   * @param options.move moves its containers to other machines in the background; `evacuation` is the progress
   */
  drainNode(name: string, { move, signal }: CallOptions & { readonly move?: boolean } = {}): Promise<api.NodeView> {
    const body = move === undefined ? {} : { json: { move } };
    return this.http.json('POST', path`/api/admin/nodes/${name}/drain`, { ...body, isRepeatable: true, signal });
  }

  /** Reverts {@link drainNode}. */
  activateNode(name: string, { signal }: CallOptions = {}): Promise<api.NodeView> {
    return this.http.json('POST', path`/api/admin/nodes/${name}/activate`, { isRepeatable: true, signal });
  }

  /**
   * Gives up a machine that is gone for good, and the data of its containers.
   *
   * @throws BerthError `node_reachable` while it answers
   */
  forgetNode(name: string, { signal }: CallOptions = {}): Promise<api.NodeView> {
    return this.http.json('POST', path`/api/admin/nodes/${name}/forget`, { isRepeatable: true, signal });
  }

  /** Accepts the current Docker in place of the known one; containers and data that it lacks are lost. */
  acceptDocker({ signal }: CallOptions = {}): Promise<api.AcceptedDockerView> {
    return this.http.json('POST', '/api/admin/docker/accept', { isRepeatable: true, signal });
  }
}

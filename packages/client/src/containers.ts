import type * as api from './api-types.ts';
import { isBerthError } from './errors.ts';
import { type CallOptions, type Http, path, type Query, reading } from './http.ts';
import { Pages } from './pages.ts';

type AgentId = `agent:${string}`;

export interface ListContainers extends CallOptions {
  readonly status?: api.ListedStatus;
  /** The exact name. */
  readonly name?: string;
  /** `key:value`, or a key alone; all must match. */
  readonly labels?: readonly string[];
  /** Size of a page: 1 to 100. */
  readonly limit?: number;
}

export interface WaitOptions extends CallOptions {
  /** Maximum time in milliseconds; a minute if absent. */
  readonly timeoutMs?: number;
}

/** Maximum time that the server waits in one request. */
const LONGEST_WAIT_SECONDS = 120;

/** `/api/containers`. Ids are all those that the API accepts; agents' ids only where the types say so. */
export class Containers {
  constructor(private readonly http: Http) {}

  /** Containers, newest first, and agents that are online. */
  list({ signal, labels, ...query }: ListContainers = {}): Pages<
    api.ListedContainerView | api.AgentView,
    api.ContainerListView
  > {
    return new Pages(async (cursor) => {
      const asked: Query = { ...query, label: labels, cursor };
      const answer = await this.http.json<api.ContainerListView>('GET', '/api/containers', { query: asked, signal });
      return { items: answer.containers, answer, nextCursor: answer.next_cursor };
    });
  }

  /**
   * Creates a container in the background; `wait()` for `running`.
   *
   * @param options idempotencyKey: repeated calls with one key create one container, for a day. By default each
   *   call has its own key, so that its retries create one container
   */
  create(
    body: api.CreateContainerDto,
    { idempotencyKey = newKey(), signal }: CallOptions & { readonly idempotencyKey?: string } = {},
  ): Promise<api.ContainerCreatedView> {
    const headers = { 'idempotency-key': idempotencyKey };
    return this.http.json('POST', '/api/containers', { json: body, headers, isRepeatable: true, signal });
  }

  get(id: AgentId, options?: CallOptions): Promise<api.AgentView>;
  get(id: string, options?: CallOptions): Promise<api.ContainerView>;
  get(id: string, { signal }: CallOptions = {}): Promise<api.ContainerView | api.AgentView> {
    return this.http.json('GET', path`/api/containers/${id}`, { signal });
  }

  /**
   * Waits until the container has the status, with as many requests as needed.
   *
   * @throws BerthError `status_not_reached` after the timeout; `status_unreachable` as soon as only another request
   *   could bring the status about
   */
  async wait(
    id: string,
    status: api.ContainerStatus,
    { timeoutMs = 60_000, signal }: WaitOptions = {},
  ): Promise<api.ContainerView> {
    const until = Date.now() + timeoutMs;
    for (;;) {
      const left = Math.ceil((until - Date.now()) / 1_000);
      const query = { status, timeout: Math.max(1, Math.min(left, LONGEST_WAIT_SECONDS)) };
      try {
        return await this.http.json('GET', path`/api/containers/${id}/wait`, { query, signal });
      } catch (error) {
        if (!isBerthError(error, 'status_not_reached') || Date.now() >= until) throw error;
      }
    }
  }

  start(id: string, { signal }: CallOptions = {}): Promise<api.ContainerStartedView> {
    return this.http.json('POST', path`/api/containers/${id}/start`, { isRepeatable: true, signal });
  }

  stop(id: AgentId, options?: CallOptions): Promise<api.AgentStoppedView>;
  stop(id: string, options?: CallOptions): Promise<api.ContainerStoppedView>;
  stop(id: string, { signal }: CallOptions = {}): Promise<api.ContainerStoppedView | api.AgentStoppedView> {
    return this.http.json('POST', path`/api/containers/${id}/stop`, { isRepeatable: true, signal });
  }

  /** Suspends all processes of a running container, which keep their memory. Its next use resumes it. */
  pause(id: string, { signal }: CallOptions = {}): Promise<api.ContainerPausedView> {
    return this.http.json('POST', path`/api/containers/${id}/pause`, { isRepeatable: true, signal });
  }

  resume(id: string, { signal }: CallOptions = {}): Promise<api.ContainerResumedView> {
    return this.http.json('POST', path`/api/containers/${id}/resume`, { isRepeatable: true, signal });
  }

  /** Marks the container as in use. A paused one stays paused. */
  touch(id: string, { signal }: CallOptions = {}): Promise<api.ContainerView> {
    return this.http.json('POST', path`/api/containers/${id}/touch`, { isRepeatable: true, signal });
  }

  /**
   * Reads a container with the entity tag of its settings, for `ifMatch` of {@link update}.
   *
   * @returns also the tag: it changes with the settings, and with nothing else
   */
  async getTagged(
    id: string,
    { signal }: CallOptions = {},
  ): Promise<{ readonly container: api.ContainerView; readonly etag: string }> {
    const response = await this.http.request('GET', path`/api/containers/${id}`, { signal });
    const container = await reading(response, signal, () => response.json() as Promise<api.ContainerView>);
    return { container, etag: response.headers.get('etag') ?? '' };
  }

  /**
   * Changes the given settings, and labels, in one request: absent ones stay, null removes an optional one, and `env`,
   * `labels` and `start` are merged by key, where null removes a key. Concurrent changes of other settings hold, too.
   *
   * @param options ifMatch: the tag of {@link getTagged}; the change is made only if the settings are still those. Such
   *   a request is not retried if the connection breaks, since its own change would fail the retry
   * @throws BerthError `precondition_failed` if the settings have changed since
   */
  update(
    id: string,
    changes: api.PatchContainerDto,
    { ifMatch, signal }: CallOptions & { readonly ifMatch?: string } = {},
  ): Promise<api.ContainerUpdatedView> {
    return this.patch(id, changes, { contentType: 'application/merge-patch+json', ifMatch, signal });
  }

  /**
   * Replaces the name, all resources and, if given, all variables and the whole start command. Other absent settings
   * stay.
   *
   * @param options as for {@link update}
   */
  replaceSettings(
    id: string,
    settings: api.UpdateContainerDto,
    { ifMatch, signal }: CallOptions & { readonly ifMatch?: string } = {},
  ): Promise<api.ContainerUpdatedView> {
    return this.patch(id, settings, { contentType: 'application/json', ifMatch, signal });
  }

  private patch(
    id: string,
    json: object,
    {
      contentType,
      ifMatch,
      signal,
    }: CallOptions & { readonly contentType: string; readonly ifMatch?: string | undefined },
  ): Promise<api.ContainerUpdatedView> {
    const headers = { 'content-type': contentType, ...(ifMatch !== undefined && { 'if-match': ifMatch }) };
    const isRepeatable = ifMatch === undefined;
    return this.http.json('PATCH', path`/api/containers/${id}`, { json, headers, isRepeatable, signal });
  }

  /** Lists the names of the container's environment variables, without their values. */
  async variables(id: string, { signal }: CallOptions = {}): Promise<readonly string[]> {
    const { variables }: api.VariableListView = await this.http.json('GET', path`/api/containers/${id}/env`, {
      signal,
    });
    return variables.map(({ name }) => name);
  }

  /** Gets the value of an environment variable; needs the scope `exec`. {@link update} sets and removes variables. */
  async variable(id: string, name: string, { signal }: CallOptions = {}): Promise<string> {
    const found: api.VariableView = await this.http.json('GET', path`/api/containers/${id}/env/${name}`, { signal });
    return found.value;
  }

  /** Replaces all labels. */
  setLabels(
    id: string,
    labels: Readonly<Record<string, string>>,
    { signal }: CallOptions = {},
  ): Promise<api.ContainerView> {
    return this.http.json('PUT', path`/api/containers/${id}/labels`, { json: { labels }, signal });
  }

  /**
   * Deletes a container, whose data is kept until `purge_at`, or an agent. Not retried if the connection breaks: a
   * second request would find nothing.
   *
   * @param options force: also if Docker refuses
   */
  delete(id: AgentId, options?: CallOptions): Promise<api.AgentDeletedView>;
  delete(id: string, options?: CallOptions & { readonly force?: boolean }): Promise<api.ContainerDeletedView>;
  delete(
    id: string,
    { force, signal }: CallOptions & { readonly force?: boolean } = {},
  ): Promise<api.ContainerDeletedView | api.AgentDeletedView> {
    return this.http.json('DELETE', path`/api/containers/${id}`, { query: { force }, signal });
  }

  /** Restores a deleted container, as stopped. */
  restore(id: string, { signal }: CallOptions = {}): Promise<api.ContainerRestoredView> {
    return this.http.json('POST', path`/api/containers/${id}/restore`, { signal });
  }
}

/** A new idempotency key. `crypto.randomUUID` is missing in pages without HTTPS. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

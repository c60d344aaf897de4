import type * as api from './api-types.ts';
import { isBerthError } from './errors.ts';
import { type CallOptions, type Http, path, type Query } from './http.ts';
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

  /** Marks the container as in use. */
  touch(id: string, { signal }: CallOptions = {}): Promise<api.ContainerView> {
    return this.http.json('POST', path`/api/containers/${id}/touch`, { isRepeatable: true, signal });
  }

  /**
   * Changes the given settings only. The API requires the name and all resources; if one is missing, the container is
   * read first, and a concurrent change between the read and the update is lost.
   */
  async update(
    id: string,
    changes: Partial<api.UpdateContainerDto>,
    { signal }: CallOptions = {},
  ): Promise<api.ContainerUpdatedView> {
    const json = isWhole(changes) ? changes : { ...settingsOf(await this.get(id, { signal })), ...changes };
    return await this.http.json('PATCH', path`/api/containers/${id}`, { json, isRepeatable: true, signal });
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

function isWhole(changes: Partial<api.UpdateContainerDto>): changes is api.UpdateContainerDto {
  const { name, memory_mb: memory, cpu_shares: cpu, disk_mb: disk } = changes;
  return [name, memory, cpu, disk].every((each) => each !== undefined);
}

function settingsOf({ name, resources }: api.ContainerView): api.UpdateContainerDto {
  return { name, ...resources };
}

/** `crypto.randomUUID` is missing in pages without HTTPS. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

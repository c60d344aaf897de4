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
  /** Of a page: 1 to 100. */
  readonly limit?: number;
}

export interface WaitOptions extends CallOptions {
  /** How long at most, in milliseconds; a minute if absent. */
  readonly timeoutMs?: number;
}

/** Once asks the server to wait; it waits for no longer. */
const LONGEST_WAIT_SECONDS = 120;

/** `/api/containers`: an id is any that the API takes, an agent's included where that is said. */
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
   * Makes a container in the background; `wait()` for `running`.
   * @param options idempotencyKey: the same key makes nothing twice, for a day. By default each call has its own, so
   *   that its retries make one container
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
   * Waits until it has the status, in as many requests as that takes.
   * @throws BerthError `status_not_reached` when the time is over, `status_unreachable` as soon as it cannot be reached
   *   without another request
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

  /** Notes that it is in use. */
  touch(id: string, { signal }: CallOptions = {}): Promise<api.ContainerView> {
    return this.http.json('POST', path`/api/containers/${id}/touch`, { isRepeatable: true, signal });
  }

  /**
   * Changes what is named, and leaves the rest. The API wants name and resources whole: where one of them is missing,
   * the container is read first, and a change that somebody makes in that moment is undone.
   */
  async update(
    id: string,
    changes: Partial<api.UpdateContainerDto>,
    { signal }: CallOptions = {},
  ): Promise<api.ContainerUpdatedView> {
    const json = isWhole(changes) ? changes : { ...settingsOf(await this.get(id, { signal })), ...changes };
    return await this.http.json('PATCH', path`/api/containers/${id}`, { json, isRepeatable: true, signal });
  }

  /** Replaces all of its labels. */
  setLabels(
    id: string,
    labels: Readonly<Record<string, string>>,
    { signal }: CallOptions = {},
  ): Promise<api.ContainerView> {
    return this.http.json('PUT', path`/api/containers/${id}/labels`, { json: { labels }, signal });
  }

  /**
   * Its data is kept until `purge_at`, an agent's not at all. Not repeated where the connection breaks: the second one
   * would find nothing.
   * @param options force: also where Docker refuses
   */
  delete(id: AgentId, options?: CallOptions): Promise<api.AgentDeletedView>;
  delete(id: string, options?: CallOptions & { readonly force?: boolean }): Promise<api.ContainerDeletedView>;
  delete(
    id: string,
    { force, signal }: CallOptions & { readonly force?: boolean } = {},
  ): Promise<api.ContainerDeletedView | api.AgentDeletedView> {
    return this.http.json('DELETE', path`/api/containers/${id}`, { query: { force }, signal });
  }

  /** Brings a deleted container back, stopped. */
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

/** `crypto.randomUUID` is missing in pages that are not served over HTTPS. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

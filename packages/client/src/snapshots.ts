import type * as api from './api-types.ts';
import { newKey, type WaitOptions } from './containers.ts';
import { isBerthError } from './errors.ts';
import { type CallOptions, type Http, path } from './http.ts';
import { type Pages, pagesOf } from './pages.ts';

export interface ListSnapshots extends CallOptions {
  /** The database id of a container, which may be deleted. */
  readonly container?: string;
  /** `key:value`, or a key alone; all must match. */
  readonly labels?: readonly string[];
  /** Size of a page: 1 to 200. */
  readonly limit?: number;
}

/** An option for calls that make something: repeated calls with one key make it once, for a day. */
interface KeyedOptions extends CallOptions {
  readonly idempotencyKey?: string;
}

/** Maximum time that the server waits in one request. */
const LONGEST_WAIT_SECONDS = 120;

/** `/api/snapshots`, and what containers do with them. */
export class Snapshots {
  constructor(private readonly http: Http) {}

  /** Snapshots, newest first. */
  list({ signal, labels, ...query }: ListSnapshots = {}): Pages<api.SnapshotView, api.SnapshotListView> {
    return pagesOf<api.SnapshotView, api.SnapshotListView>(
      this.http,
      '/api/snapshots',
      { query: { ...query, label: labels }, ...(signal && { signal }) },
      ({ snapshots }) => [...snapshots],
    );
  }

  /** Makes a snapshot of a container in the background; `wait()` for it. */
  create(
    containerId: string,
    body: api.CreateSnapshotDto = {},
    { idempotencyKey = newKey(), signal }: KeyedOptions = {},
  ): Promise<api.SnapshotView> {
    const headers = { 'idempotency-key': idempotencyKey };
    const route = path`/api/containers/${containerId}/snapshots`;
    return this.http.json('POST', route, { json: body, headers, isRepeatable: true, signal });
  }

  get(id: string, { signal }: CallOptions = {}): Promise<api.SnapshotView> {
    return this.http.json('GET', path`/api/snapshots/${id}`, { signal });
  }

  /**
   * Waits until the snapshot is ready, with as many requests as needed.
   *
   * @throws BerthError `status_not_reached` after the timeout; `status_unreachable` if the snapshot failed
   */
  async wait(id: string, { timeoutMs = 60_000, signal }: WaitOptions = {}): Promise<api.SnapshotView> {
    const until = Date.now() + timeoutMs;
    for (;;) {
      const left = Math.ceil((until - Date.now()) / 1_000);
      const query = { timeout: Math.max(1, Math.min(left, LONGEST_WAIT_SECONDS)) };
      try {
        return await this.http.json('GET', path`/api/snapshots/${id}/wait`, { query, signal });
      } catch (error) {
        if (!isBerthError(error, 'status_not_reached') || Date.now() >= until) throw error;
      }
    }
  }

  /** Changes name, description or labels; absent ones stay. */
  update(id: string, changes: api.UpdateSnapshotDto, { signal }: CallOptions = {}): Promise<api.SnapshotView> {
    return this.http.json('PATCH', path`/api/snapshots/${id}`, { json: changes, isRepeatable: true, signal });
  }

  /** Deletes a snapshot; containers that were created from it go on. */
  delete(id: string, { signal }: CallOptions = {}): Promise<api.SnapshotDeletedView> {
    return this.http.json('DELETE', path`/api/snapshots/${id}`, { signal });
  }

  /** Returns a container to one of its snapshots. The state before is kept as a snapshot unless `keep` is false. */
  restore(
    containerId: string,
    body: api.RestoreSnapshotDto,
    { signal }: CallOptions = {},
  ): Promise<api.SnapshotRestoredView> {
    return this.http.json('POST', path`/api/containers/${containerId}/restore-snapshot`, { json: body, signal });
  }

  /** Makes copies of a container in the background. */
  async fork(
    containerId: string,
    body: api.ForkContainerDto = {},
    { idempotencyKey = newKey(), signal }: KeyedOptions = {},
  ): Promise<readonly api.ContainerCreatedView[]> {
    const headers = { 'idempotency-key': idempotencyKey };
    const options = { json: body, headers, isRepeatable: true, signal };
    const route = path`/api/containers/${containerId}/fork`;
    const made = await this.http.json<api.ContainerCreatedView | api.ForkedContainersView>('POST', route, options);
    return 'containers' in made ? made.containers : [made];
  }
}

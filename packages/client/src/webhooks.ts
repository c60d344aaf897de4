import type * as api from './api-types.ts';
import { newKey } from './containers.ts';
import { type CallOptions, type Http, path } from './http.ts';
import { type Pages, pagesOf } from './pages.ts';

export interface ListDeliveries extends CallOptions {
  readonly status?: api.DeliveryStatus;
  /** Size of a page: 1 to 200. */
  readonly limit?: number;
}

/** `/api/webhooks`, and `/api/admin/webhooks` for global ones. */
export class Webhooks {
  constructor(
    private readonly http: Http,
    private readonly base: '/api/webhooks' | '/api/admin/webhooks' = '/api/webhooks',
  ) {}

  /** Webhooks, newest first. */
  list({ signal, ...query }: CallOptions & { readonly limit?: number } = {}): Pages<
    api.WebhookView,
    api.WebhookListView
  > {
    return pagesOf<api.WebhookView, api.WebhookListView>(
      this.http,
      this.base,
      { query, ...(signal && { signal }) },
      ({ webhooks }) => [...webhooks],
    );
  }

  /** Makes a webhook. Its secret is only in this answer. */
  create(
    body: api.CreateWebhookDto,
    { idempotencyKey = newKey(), signal }: CallOptions & { readonly idempotencyKey?: string } = {},
  ): Promise<api.WebhookCreatedView> {
    const headers = { 'idempotency-key': idempotencyKey };
    return this.http.json('POST', this.base, { json: body, headers, isRepeatable: true, signal });
  }

  get(id: string, { signal }: CallOptions = {}): Promise<api.WebhookView> {
    return this.http.json('GET', this.base + path`/${id}`, { signal });
  }

  /** Changes a webhook, pauses it or activates it; absent fields stay. */
  update(id: string, changes: api.UpdateWebhookDto, { signal }: CallOptions = {}): Promise<api.WebhookView> {
    return this.http.json('PATCH', this.base + path`/${id}`, { json: changes, isRepeatable: true, signal });
  }

  /** Deletes a webhook, and what it has not delivered. */
  delete(id: string, { signal }: CallOptions = {}): Promise<api.WebhookDeletedView> {
    return this.http.json('DELETE', this.base + path`/${id}`, { signal });
  }

  /** Replaces the secret. The new one is only in this answer. */
  rotateSecret(
    id: string,
    body: api.RotateSecretDto = {},
    { signal }: CallOptions = {},
  ): Promise<api.SecretRotatedView> {
    return this.http.json('POST', this.base + path`/${id}/rotate-secret`, { json: body, signal });
  }

  /** Sends a test, and waits for its outcome. */
  test(id: string, { signal }: CallOptions = {}): Promise<api.DeliveryView> {
    return this.http.json('POST', this.base + path`/${id}/test`, { signal });
  }

  /** Deliveries, newest first. */
  deliveries(id: string, { signal, ...query }: ListDeliveries = {}): Pages<api.DeliveryView, api.DeliveryListView> {
    return pagesOf<api.DeliveryView, api.DeliveryListView>(
      this.http,
      this.base + path`/${id}/deliveries`,
      { query, ...(signal && { signal }) },
      ({ deliveries }) => [...deliveries],
    );
  }

  /** Repeats a delivery, and waits for its outcome; a pending one is tried as soon as its turn comes. */
  redeliver(id: string, deliveryId: string, { signal }: CallOptions = {}): Promise<api.DeliveryView> {
    return this.http.json('POST', this.base + path`/${id}/deliveries/${deliveryId}/redeliver`, { signal });
  }
}

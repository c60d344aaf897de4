import { AsyncLocalStorage } from 'node:async_hooks';

/** What every log line of a request carries. Written to as more becomes known. */
export interface RequestContext {
  readonly requestId: string;
  userId?: string;
  /** The database id of the container that the request is about. */
  containerId?: string;
}

/** The request that the running code works for; empty in work that no request waits for. */
export const requestContext = new AsyncLocalStorage<RequestContext>();

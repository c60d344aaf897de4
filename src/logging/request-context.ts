import { AsyncLocalStorage } from 'node:async_hooks';

/** What is known of a request, most of it for its log lines. Written to as more becomes known. */
export interface RequestContext {
  readonly requestId: string;
  userId?: string;
  /** The database id of the container that the request is about. */
  containerId?: string;
  /** Whose thing the request is about, where that need not be the caller; not for the log. */
  subjectUserId?: string;
}

/** The request that the running code works for; empty in work that no request waits for. */
export const requestContext = new AsyncLocalStorage<RequestContext>();

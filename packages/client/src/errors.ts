import type { ErrorCode, ErrorDetail } from './api-types.ts';

/** The client's own codes: no answer arrived, or the answer is not Berth's (such as a proxy's page). */
export type ClientErrorCode = 'connection_failed' | 'unexpected_answer';

/** The server's codes and the client's own. A newer server may send other codes. */
export type BerthErrorCode = ErrorCode | ClientErrorCode;

interface TierLimit {
  readonly current: number;
  readonly limit: number;
  readonly tier: string;
}

/** Additional fields of the server's errors, by code. */
export interface ErrorFields {
  readonly container_limit_reached: TierLimit;
  readonly agent_limit_reached: TierLimit;
  readonly token_limit_reached: { readonly current: number; readonly limit: number };
  readonly process_limit_reached: { readonly limit: number };
  readonly exec_not_allowed: { readonly tier: string };
  readonly status_not_reached: { readonly status: string };
  readonly status_unreachable: { readonly status: string };
  readonly operation_in_progress: { readonly operation: string };
  readonly no_capacity: {
    readonly short: readonly { readonly resource: string; readonly needed: number; readonly available: number }[];
  };
  readonly file_too_large: { readonly limit: number };
  readonly archive_too_large: { readonly limit: number };
}

export type FieldsOf<Code extends BerthErrorCode> = Code extends keyof ErrorFields
  ? ErrorFields[Code]
  : Readonly<Record<string, unknown>>;

interface ErrorFacts<Code extends BerthErrorCode> {
  readonly status: number;
  readonly code: Code;
  readonly message: string;
  readonly requestId?: string | null;
  readonly details?: readonly ErrorDetail[];
  readonly fields?: FieldsOf<Code>;
  readonly retryAfterMs?: number | null;
  readonly cause?: unknown;
}

/** Any failure of a request except an abort, which rejects with the signal's reason. */
export class BerthError<Code extends BerthErrorCode = BerthErrorCode> extends Error {
  override readonly name = 'BerthError';
  /** The HTTP status; 0 if no answer arrived. */
  readonly status: number;
  readonly code: Code;
  /** Identifies the request in the server's log. */
  readonly requestId: string | null;
  /** With `invalid_parameters`: an entry for each faulty field. */
  readonly details: readonly ErrorDetail[];
  /** The additional fields of this code. */
  readonly fields: FieldsOf<Code>;
  /** The server's `Retry-After` in milliseconds; null if absent. */
  readonly retryAfterMs: number | null;

  constructor(facts: ErrorFacts<Code>) {
    super(facts.message, { cause: facts.cause });
    this.status = facts.status;
    this.code = facts.code;
    this.requestId = facts.requestId ?? null;
    this.details = facts.details ?? [];
    this.fields = facts.fields ?? ({} as FieldsOf<Code>);
    this.retryAfterMs = facts.retryAfterMs ?? null;
  }
}

/** No answer arrived, or it broke off. */
export class UnreachableError extends BerthError<'connection_failed'> {
  /** The host with its port, such as `berth.example.org:8080`. */
  readonly host: string;
  /** Node.js's code, such as `ECONNREFUSED`, or `CORS`; null if unknown, since browsers do not reveal the cause. */
  readonly reason: string | null;

  constructor({ url, what, reason, cause }: UnreachableFacts) {
    const host = URL.canParse(url) ? new URL(url).host : 'the server';
    const found = reasonOf(cause);
    const message = `${host} ${what}${found.message === '' ? '' : `: ${found.message}`}`;
    super({ status: 0, code: 'connection_failed', message, cause });
    this.host = host;
    this.reason = reason ?? found.code;
  }
}

interface UnreachableFacts {
  readonly url: string;
  /** The predicate of the error's message, such as `could not be reached`. */
  readonly what: string;
  /** Overrides the cause's code. */
  readonly reason?: string;
  readonly cause?: unknown;
}

/**
 * `fetch` only says that it failed. The reason is in its cause, or in the first of several causes (one for each
 * address).
 */
function reasonOf(error: unknown): { readonly message: string; readonly code: string | null } {
  let { cause } = (error ?? {}) as { cause?: unknown };
  if (cause instanceof AggregateError) cause = cause.errors[0];
  const { message, code } = (cause ?? {}) as { message?: unknown; code?: unknown };
  return { message: typeof message === 'string' ? message : '', code: typeof code === 'string' ? code : null };
}

/**
 * Checks an error's code and narrows its fields: `if (isBerthError(error, 'container_limit_reached'))
 * show(error.fields.limit)`.
 *
 * @param codes the codes to match; without any, every BerthError matches
 */
export function isBerthError<Code extends BerthErrorCode = BerthErrorCode>(
  error: unknown,
  ...codes: readonly Code[]
): error is BerthError<Code> {
  return error instanceof BerthError && (codes.length === 0 || codes.includes(error.code as Code));
}

/** Reads an unsuccessful answer's body. @returns its error */
export async function errorOf(response: Response): Promise<BerthError> {
  const text = await response.text().catch(() => '');
  const status = response.status;
  const retryAfterMs = retryAfterOf(response.headers.get('retry-after'));
  const body = parseBody(text);
  if (!body) {
    const message = `the server answered ${String(status)} with something else than an error of Berth`;
    const requestId = response.headers.get('x-request-id');
    return new BerthError({ status, code: 'unexpected_answer', message, requestId, retryAfterMs });
  }
  const { error: message, code, details, request_id: requestId, ...fields } = body;
  return new BerthError({
    status,
    code: code as BerthErrorCode,
    message,
    requestId: typeof requestId === 'string' ? requestId : null,
    details: (details ?? []) as readonly ErrorDetail[],
    fields,
    retryAfterMs,
  });
}

interface ErrorBody extends Readonly<Record<string, unknown>> {
  readonly error: string;
  readonly code: string;
}

function parseBody(text: string): ErrorBody | null {
  try {
    const body = JSON.parse(text) as Partial<ErrorBody> | null;
    return typeof body?.error === 'string' && typeof body.code === 'string' ? (body as ErrorBody) : null;
  } catch {
    return null;
  }
}

function retryAfterOf(header: string | null): number | null {
  const seconds = Number(header);
  return header === null || !Number.isFinite(seconds) ? null : seconds * 1_000;
}

/** An error as log lines show it. */
export interface LoggedError {
  readonly type: string;
  readonly message: string;
  readonly code?: unknown;
  readonly stack?: string | undefined;
  readonly cause?: LoggedError;
}

/**
 * Picks what helps. Not every property of an error: a database error carries the parameters of its query, which hold what
 * users wrote, and a Docker error carries the whole answer.
 */
export function errorForLog(error: unknown, depth = 0): LoggedError {
  if (!(error instanceof Error)) return { type: typeof error, message: String(error) };
  return {
    type: error.name,
    message: error.message,
    ...('code' in error ? { code: error.code } : {}),
    stack: error.stack,
    ...(error.cause !== undefined && depth < 5 ? { cause: errorForLog(error.cause, depth + 1) } : {}),
  };
}

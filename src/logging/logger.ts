import { AsyncLocalStorage } from 'node:async_hooks';
import { DestinationStream, type LogFn, Logger as PinoLogger, pino } from 'pino';
import { Config } from '../config';

/** An error as log lines show it. */
interface LoggedError {
  readonly type: string;
  readonly message: string;
  readonly code?: unknown;
  readonly stack?: string | undefined;
  readonly cause?: LoggedError;
}

/**
 * Picks the useful properties of an error. Not all of them: a database error carries the parameters of its query,
 * which hold users' data, and a Docker error carries the whole response.
 */
function errorForLog(error: unknown, depth = 0): LoggedError {
  if (!(error instanceof Error)) return { type: typeof error, message: String(error) };
  return {
    type: error.name,
    message: error.message,
    ...('code' in error ? { code: error.code } : {}),
    stack: error.stack,
    ...(error.cause !== undefined && depth < 5 ? { cause: errorForLog(error.cause, depth + 1) } : {}),
  };
}

/** Pino's number of the level `debug`. */
const DEBUG = 20;

/** Errors of which the log has a line of their own. */
const reported = new WeakSet<Error>();

/** Gives lines about this error, or about errors with this cause, the level `debug`: another line has reported it. */
export function markReported(error: Error): void {
  reported.add(error);
}

function isReported(error: unknown, depth = 0): boolean {
  if (!(error instanceof Error) || depth > 5) return false;
  // TypeORM has the cause of a failed query in a property of its own.
  const { cause, driverError } = error as { cause?: unknown; driverError?: unknown };
  return reported.has(error) || isReported(cause, depth + 1) || isReported(driverError, depth + 1);
}

/** Facts about a request, most of them for its log lines. Added to as more becomes known. */
export interface RequestContext {
  readonly requestId: string;
  userId?: string;
  /** The database id of the container that the request is about. */
  containerId?: string;
  /** The owner of what the request is about, who need not be the caller; not for the log. */
  subjectUserId?: string;
  /** The work done inside a container; only for the audit. */
  done?: WorkInside;
}

/** The audit's record of work inside a container: never an argument, a path or contents. */
export interface WorkInside {
  /** The name of the program that was started. */
  program?: string;
  /** Bytes of a file or an archive, sent or received so far. */
  bytes?: number;
}

/** The request that the running code works for; empty in background work. */
export const requestContext = new AsyncLocalStorage<RequestContext>();

/** Injection token of the {@link Logger}. */
export const LOGGER = Symbol('LOGGER');

/** Structured logs: `logger.info({ container_id }, 'sentence')`. */
export type Logger = PinoLogger;

const SECRET_FIELDS = ['authorization', 'token', 'access_token', 'password', 'secret', 'env', 'environment'];
const TOKEN = /berth_[0-9a-f]{60,64}/g;
/**
 * Characters that JSON does not escape but a terminal or an editor obeys: the control characters from DEL on (U+009B
 * begins an escape sequence), Unicode line separators, and marks that change the direction of text.
 */
const STEERING = /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Creates a logger that writes lines of JSON, by default to stdout. */
export function createLogger(config: Pick<Config, 'LOG_LEVEL'>, destination?: DestinationStream): Logger {
  const options = {
    level: config.LOG_LEVEL,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: errorForLog },
    mixin: contextFields,
    redact: { paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]), censor: '[redacted]' },
    // A token inside a sentence, a URL or a library's error has no field of its own that could be redacted.
    hooks: {
      streamWrite: (line: string) => line.replace(TOKEN, 'berth_[redacted]').replace(STEERING, asEscape),
      logMethod(this: Logger, call: Parameters<LogFn>, method: LogFn, level: number) {
        const { err } = Object(call[0]) as { err?: unknown };
        if (level > DEBUG && isReported(err)) this.debug(...call);
        else method.apply(this, call);
      },
    },
  };
  return pino(options, destination ?? standardOutput());
}

/**
 * Writes synchronously. When the process ends and nothing reads stdout any more, sonic-boom (4.2.1, `flushSync`)
 * retries buffered lines for ever, so the process would never end and would keep its port.
 */
function standardOutput(): DestinationStream {
  return pino.destination({ dest: 1, sync: true });
}

function asEscape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

function contextFields(): object {
  const context = requestContext.getStore();
  return context ? { request_id: context.requestId, user_id: context.userId, container_id: context.containerId } : {};
}

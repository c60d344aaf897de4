import { AsyncLocalStorage } from 'node:async_hooks';
import { DestinationStream, Logger as PinoLogger, pino } from 'pino';
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
 * Picks what helps. Not every property of an error: a database error carries the parameters of its query, which hold
 * what users wrote, and a Docker error carries the whole answer.
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

/** What is known of a request, most of it for its log lines. Written to as more becomes known. */
export interface RequestContext {
  readonly requestId: string;
  userId?: string;
  /** The database id of the container that the request is about. */
  containerId?: string;
  /** Whose thing the request is about, where that need not be the caller; not for the log. */
  subjectUserId?: string;
  /** What is done inside a container; for the audit alone. */
  done?: WorkInside;
}

/** What the audit has of what was done inside a container: never an argument, a path or a content. */
export interface WorkInside {
  /** The name of the program that was started. */
  program?: string;
  /** Of a file or an archive, sent or taken so far. */
  bytes?: number;
}

/** The request that the running code works for; empty in work that no request waits for. */
export const requestContext = new AsyncLocalStorage<RequestContext>();

/** Injection token of the {@link Logger}. */
export const LOGGER = Symbol('LOGGER');

/** Structured logs: `logger.info({ container_id }, 'sentence')`. */
export type Logger = PinoLogger;

const SECRET_FIELDS = ['authorization', 'token', 'access_token', 'password', 'secret', 'env', 'environment'];
const TOKEN = /berth_[0-9a-f]{60,64}/g;
/**
 * What JSON leaves as it is and a terminal or an editor obeys: the control characters behind ASCII (U+009B begins an
 * escape sequence), other ends of lines, and the turning of a line's direction.
 */
const STEERING = /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Lines of JSON, by default on stdout. */
export function createLogger(config: Pick<Config, 'LOG_LEVEL'>, destination?: DestinationStream): Logger {
  const options = {
    level: config.LOG_LEVEL,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: errorForLog },
    mixin: contextFields,
    redact: { paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]), censor: '[redacted]' },
    // A token inside a sentence, a URL or a foreign error has no field of its own to be redacted by.
    hooks: { streamWrite: (line: string) => line.replace(TOKEN, 'berth_[redacted]').replace(STEERING, asEscape) },
  };
  return pino(options, destination ?? standardOutput());
}

/**
 * Written at once: what waits to be written when the process ends is tried for ever where nobody reads it any more
 * (sonic-boom 4.2.1, `flushSync`), and the process, which holds its port, would never end.
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

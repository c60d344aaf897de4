import { ArgumentsHost, Catch, ExceptionFilter, HttpException, Inject } from '@nestjs/common';
import { FastifyReply, FastifyRequest } from 'fastify';
import { STATUS_CODES } from 'node:http';
import { LOGGER, type Logger } from '../logging';
import { databaseFault } from './database-fault';
import { BEARER_CHALLENGE, DomainError, ErrorCode, ERRORS } from './domain-error';

export interface ErrorAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<{ error: string; code: string; request_id: string }> & Readonly<Record<string, unknown>>;
}

/** Errors for the frameworks' status codes. Their messages are not used: they contain paths and the caller's input. */
const BY_STATUS: Readonly<Partial<Record<number, ErrorCode>>> = {
  400: 'invalid_parameters',
  401: 'unauthorized',
  403: 'insufficient_permissions',
  404: 'route_not_found',
  405: 'method_not_allowed',
  408: 'request_timeout',
  413: 'body_too_large',
  415: 'unsupported_media_type',
  417: 'expectation_failed',
  421: 'misdirected_request',
  426: 'upgrade_required',
  431: 'request_header_fields_too_large',
  500: 'internal_error',
};

/** Seconds in which an unreachable node is noticed. */
const NODE_RETRY_AFTER = 5;

/** Converts any thrown value into an answer that shows only what the caller may know. */
export function errorAnswer(thrown: unknown, requestId: string): ErrorAnswer {
  const known = thrown instanceof DomainError ? thrown : databaseFault(thrown);
  if (known) {
    // An unreachable node or container takes precedence over the operation that failed: a retry helps.
    const isOfNode = known.code === 'node_unavailable';
    const isUnreachable = isOfNode || known.code === 'container_not_responding';
    const { status, message } = ERRORS[isUnreachable ? (known.code as ErrorCode) : known.kind];
    const { fields, retryAfter = isOfNode ? NODE_RETRY_AFTER : undefined, headers } = known.options;
    return {
      status,
      headers: {
        ...headersOf(status),
        ...headers,
        ...(retryAfter === undefined ? {} : { 'retry-after': String(Math.max(1, Math.ceil(retryAfter))) }),
      },
      body: { error: message, code: known.code, request_id: requestId, ...fields },
    };
  }
  return answerOfStatus(statusOf(thrown), requestId);
}

/** The answer if only the status is known. */
export function answerOfStatus(status: number, requestId: string): ErrorAnswer {
  const kind = BY_STATUS[status];
  const error = kind ? ERRORS[kind].message : (STATUS_CODES[status] ?? 'error').toLowerCase();
  const code = kind ?? error.replace(/[^a-z]+/g, '_');
  return { status, headers: headersOf(status), body: { error, code, request_id: requestId } };
}

/** True for a fault of Berth itself, which has to be logged. An HttpException is an answer that a route has chosen. */
function isServerFault(thrown: unknown, status: number): boolean {
  return status >= 500 && status !== 503 && !(thrown instanceof HttpException);
}

function headersOf(status: number): Record<string, string> {
  return status === 401 ? { 'www-authenticate': BEARER_CHALLENGE } : {};
}

/**
 * Only the frameworks' own errors may choose a status: a client library's error with a `statusCode` is a server
 * fault.
 */
function statusOf(thrown: unknown): number {
  if (thrown instanceof HttpException) return thrown.getStatus();
  if (!(thrown instanceof Error)) return 500;
  const { code, statusCode } = thrown as { code?: unknown; statusCode?: unknown };
  const fromFastify = typeof code === 'string' && code.startsWith('FST_ERR_');
  // The client disconnected while it sent the body; Fastify sets the status.
  const aborted = code === 'ECONNRESET' && statusCode === 400;
  return (fromFastify || aborted) && typeof statusCode === 'number' ? statusCode : 500;
}

/** The only place that converts errors into answers: Berth's own, the frameworks', and unexpected ones. */
@Catch()
export class DomainErrorFilter implements ExceptionFilter {
  constructor(@Inject(LOGGER) private readonly logger: Logger) {}

  catch(thrown: unknown, host: ArgumentsHost): void {
    if (host.getType() !== 'http') {
      this.logger.error({ err: thrown }, 'a message handler failed');
      return;
    }
    const request = host.switchToHttp().getRequest<FastifyRequest>();
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    const answer = errorAnswer(thrown, request.id);
    // A database error is not a bug of Berth, but an operator has to see it.
    if (isServerFault(thrown, answer.status) || databaseFault(thrown)) {
      this.logger.error({ err: thrown, code: answer.body.code, request_id: request.id }, 'a request failed');
    }
    // The handler has answered completely, with an error of its protocol's own form.
    if (reply.raw.writableEnded) return;
    if (reply.sent || reply.raw.headersSent) {
      // Part of the answer is already sent, so only a broken connection can signal the failure.
      reply.raw.destroy();
      return;
    }
    void reply
      .status(answer.status)
      .headers(answer.headers)
      .send(request.route?.errorForm?.(answer, thrown) ?? answer.body);
  }
}

import { Code, ConnectError, createContextKey, type HandlerContext } from '@connectrpc/connect';
import { codeToString } from '@connectrpc/connect/protocol-connect';
import type { FastifyRequest } from 'fastify';
import { DomainError, type ErrorAnswer, type ErrorCode, ERRORS, type FieldFault } from '../../errors';
import { E2bError } from '../e2b-error';
import type { OpenedSandbox } from '../sandbox-access';

/** The port of envd, as E2B's clients name it: what else they ask of a sandbox goes to the container's own ports. */
export const ENVD_PORT = 49_983;

/** A request to a sandbox's envd. */
export interface EnvdCall extends OpenedSandbox {
  /** Who runs things and whose home relative paths are in; undefined: the image's own user. */
  readonly user: string | undefined;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the guard of envd's routes. */
    envd?: EnvdCall;
  }
}

/** A call of Connect, and the error that it was answered with. */
export interface Exchange {
  readonly call: EnvdCall;
  fault?: unknown;
  /** Ends the connection in the middle of the answer. */
  readonly breakOff: () => void;
}

export const EXCHANGE = createContextKey<Exchange | null>(null);

/** The sandbox of a call of Connect. */
export function callOf({ values }: Pick<HandlerContext, 'values'>): EnvdCall {
  return required(values.get(EXCHANGE)?.call);
}

/** The sandbox of a request. */
export function callOfRequest({ envd }: FastifyRequest): EnvdCall {
  return required(envd);
}

function required(call: EnvdCall | null | undefined): EnvdCall {
  if (!call) throw new Error('a request reached envd without the guard');
  return call;
}

/** The user in `Authorization: Basic`, which E2B's clients send without a password. */
export function userOf(authorization: string | undefined): string | undefined {
  const [, encoded = ''] = /^basic ([a-z0-9+/]+=*)$/i.exec(authorization ?? '') ?? [];
  const [name = ''] = Buffer.from(encoded, 'base64').toString().split(':', 1);
  return name === '' ? undefined : name;
}

/** What E2B's clients make exceptions of. Other errors go by their status. */
const CODES: { readonly [code in ErrorCode]?: Code } = {
  process_ended: Code.NotFound,
  path_exists: Code.AlreadyExists,
  path_not_directory: Code.InvalidArgument,
  no_space: Code.ResourceExhausted,
  process_limit_reached: Code.ResourceExhausted,
  command_not_started: Code.InvalidArgument,
  // The sandbox is not there: clients say that it has ended.
  container_not_running: Code.Unavailable,
  container_not_found: Code.Unavailable,
};

const BY_STATUS: Readonly<Record<number, Code>> = {
  400: Code.InvalidArgument,
  401: Code.Unauthenticated,
  403: Code.PermissionDenied,
  404: Code.NotFound,
  408: Code.DeadlineExceeded,
  409: Code.FailedPrecondition,
  422: Code.FailedPrecondition,
  429: Code.ResourceExhausted,
  503: Code.Unavailable,
};

/** Errors of `/files` and `/health` that have another status in E2B. */
const STATUSES: { readonly [code in ErrorCode]?: number } = {
  container_not_running: 502,
  container_not_found: 502,
  path_is_directory: 400,
  path_not_directory: 400,
  path_not_file: 400,
};

/** The form of Connect's errors, for requests that are refused before Connect reads them. */
export function connectForm({ status, body }: ErrorAnswer, thrown: unknown): object {
  const message = thrown instanceof E2bError ? thrown.message : body.error;
  return { code: codeToString(BY_STATUS[status] ?? Code.Unavailable), message };
}

/** Connect's error for an error of a handler. Unexpected ones show nothing of their cause. */
export function connectError(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error;
  if (!(error instanceof DomainError)) return new ConnectError('internal error', Code.Internal);
  const code = CODES[error.kind] ?? BY_STATUS[ERRORS[error.kind].status] ?? Code.Internal;
  return new ConnectError(messageOf(error), code);
}

/** The error of a route that is not of Connect, where E2B has another status than Berth. */
export function routeError(error: unknown): unknown {
  const status = error instanceof DomainError ? STATUSES[error.kind] : undefined;
  return status === undefined ? error : new E2bError(status, messageOf(error as DomainError));
}

/** Names the faulty fields. */
function messageOf({ message, options: { fields } }: DomainError): string {
  const { details } = fields ?? {};
  const faults = Array.isArray(details) ? (details as FieldFault[]) : [];
  return faults.length === 0 ? message : faults.map((fault) => `${fault.field} ${fault.message}`).join('; ');
}

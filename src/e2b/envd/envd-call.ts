import { Code, ConnectError, createContextKey, type HandlerContext } from '@connectrpc/connect';
import { DomainError, type ErrorCode, ERRORS } from '../../errors';
import type { OpenedSandbox } from '../sandbox-access';

/** The sandbox of a request to envd, and the user who runs things in it. */
export interface EnvdCall extends OpenedSandbox {
  /** undefined for the image's own user. */
  readonly user: string | undefined;
}

const CALL = createContextKey<EnvdCall | null>(null);
export { CALL as ENVD_CALL };

/** The sandbox of a call. */
export function callOf({ values }: Pick<HandlerContext, 'values'>): EnvdCall {
  const call = values.get(CALL);
  if (!call) throw new Error('a call reached envd without its sandbox');
  return call;
}

/** The user of E2B's SDKs: the name in `Authorization: Basic`, without a password. */
export function userOf(authorization: string | undefined): string | undefined {
  const [, encoded = ''] = /^basic ([a-z0-9+/]+=*)$/i.exec(authorization ?? '') ?? [];
  const [name = ''] = Buffer.from(encoded, 'base64').toString().split(':', 1);
  return name === '' ? undefined : name;
}

/** By the code of an error: what E2B's SDKs make exceptions of. Errors that are not listed go by their status. */
const CODES: { readonly [code in ErrorCode]?: Code } = {
  process_ended: Code.NotFound,
  path_exists: Code.AlreadyExists,
  no_space: Code.ResourceExhausted,
  too_many_transfers: Code.ResourceExhausted,
  process_limit_reached: Code.ResourceExhausted,
  command_not_started: Code.InvalidArgument,
  path_not_directory: Code.InvalidArgument,
  // The sandbox is not there to answer: E2B's SDKs say that it has ended.
  container_not_running: Code.Unavailable,
  container_not_found: Code.Unavailable,
  shutting_down: Code.Unavailable,
};

const BY_STATUS: Readonly<Record<number, Code>> = {
  400: Code.InvalidArgument,
  401: Code.Unauthenticated,
  403: Code.PermissionDenied,
  404: Code.NotFound,
  409: Code.FailedPrecondition,
  422: Code.FailedPrecondition,
  429: Code.ResourceExhausted,
  503: Code.Unavailable,
};

/** The error of Connect for an error of Berth; `invalid_argument` names the fields. Others say nothing of their cause. */
export function connectError(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error;
  if (!(error instanceof DomainError)) return new ConnectError('internal error', Code.Internal);
  const code = CODES[error.kind] ?? BY_STATUS[ERRORS[error.kind].status] ?? Code.Internal;
  const { details: given } = error.options.fields ?? {};
  const faults = Array.isArray(given) ? (given as { field: string; message: string }[]) : [];
  const details = faults.map(({ field, message }) => `${field} ${message}`).join('; ');
  return new ConnectError(details === '' ? error.message : `${error.message}: ${details}`, code);
}

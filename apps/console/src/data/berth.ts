import { Berth, BerthError, isBerthError } from '@berth/client';
import { forget, session } from '../session';
import { type Faults, NO_FAULTS, rangeInWords } from './faults';
import { inWords } from '../words/errors';
import { faultWords } from '../words/faults';
import { sessionWords } from '../words/session';

/** A client for the signed-in user, whose requests are sent by `send`. */
export const berthBy = (send: typeof fetch): Berth =>
  new Berth({
    url: location.origin,
    token: () => session.value?.token ?? '',
    fetch: async (input, init) => {
      const asked = session.value?.token;
      const response = await send(input, { ...init, credentials: 'omit', cache: 'no-store' });
      // A token that was good and is not any more.
      if (response.status === 401 && asked !== undefined && asked === session.value?.token) endedByServer();
      return response;
    },
  });

/** The client for all calls of the signed-in user. */
export const berth = berthBy((...asked) => fetch(...asked));

/** The session's token was revoked, or has expired. */
export function endedByServer(): void {
  forget(sessionWords.ended);
}

/** A client for calls before a session exists. */
export const asking = (token?: string): Berth =>
  new Berth({ url: location.origin, retries: 0, ...(token !== undefined && { token }) });

/** What the client has no method for: whether the server is well, and the way in by a link. */
export async function askServer<T>(path: string, json?: unknown): Promise<T> {
  const init: RequestInit = { credentials: 'omit', cache: 'no-store' };
  if (json !== undefined) {
    Object.assign(init, {
      method: 'POST',
      body: JSON.stringify(json),
      headers: { 'content-type': 'application/json' },
    });
  }
  const response = await fetch(path, init).catch((cause: unknown) => {
    throw new BerthError({ status: 0, code: 'connection_failed', message: 'unreachable', cause });
  });
  const body = (await response.json().catch(() => ({}))) as T & { error?: string; code?: string };
  if (response.ok || body.code === undefined) return body;
  const { status } = response;
  throw new BerthError({ status, code: body.code as BerthError['code'], message: body.error ?? '' });
}

/** What is wrong with a field of a refused request. */
export function faultOf(error: unknown, field: string): string | undefined {
  if (!isBerthError(error)) return undefined;
  return error.details.find((each) => each.field === field || each.field.startsWith(`${field}.`))?.message;
}

/** Refusals that are about one field of a form for a container, though their answers name none. */
const FIELD_OF_CODE: ReadonlyMap<string, string> = new Map([
  ['name_taken', 'name'],
  ['snapshot_not_found', 'source'],
  ['snapshot_not_ready', 'source'],
  ['template_not_found', 'source'],
  ['exec_not_allowed', 'start'],
]);

/** The fields of forms that the API has other names for. */
const FIELD_OF_DETAIL: ReadonlyMap<string, string> = new Map([
  ['image', 'source'],
  ['snapshot', 'source'],
  ['environment', 'env'],
]);

/** What the server refused of a form for a container, by the form's fields; of `start.command` by `start`. */
export function faultsOf(error: unknown): Faults {
  if (!isBerthError(error)) return NO_FAULTS;
  const faults: Record<string, string> = {};
  for (const detail of error.details) {
    const [first = ''] = detail.field.split('.');
    const { min, max } = detail as { readonly min?: unknown; readonly max?: unknown };
    const isRange = typeof min === 'number' && typeof max === 'number';
    const range = isRange ? rangeInWords(detail.field, { min, max }) : null;
    faults[FIELD_OF_DETAIL.get(first) ?? first] ??=
      range === null ? asSentence(detail.message) : faultWords.tierAllows(range);
  }
  const field = FIELD_OF_CODE.get(error.code);
  if (field !== undefined) faults[field] = inWords(error);
  return faults;
}

const asSentence = (text: string): string =>
  `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;

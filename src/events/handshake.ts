import { z } from 'zod';

/** A connection is refused; the message goes to the client as that of its `connect_error`. */
export class ConnectionRefused extends Error {
  override readonly name = 'ConnectionRefused';
  /** Socket.IO sends this along. */
  readonly data: { readonly error: string; readonly code: string };

  constructor(message: string, code: string) {
    super(message);
    this.data = { error: message, code };
  }
}

const withToken = z.object({ token: z.string() });
const withAfter = z.object({ after: z.int().min(0).optional() });

/** @returns the token of a handshake's `auth`; null if there is none. Never from the URL, which ends up in logs */
export function tokenOf(auth: unknown): string | null {
  return withToken.safeParse(auth).data?.token ?? null;
}

/** @returns the last `seq` that the client has seen, if it says @throws ConnectionRefused if it is no whole number from 0 on */
export function afterOf(auth: unknown): number | undefined {
  const parsed = withAfter.safeParse(auth);
  if (!parsed.success) throw new ConnectionRefused('invalid parameters', 'invalid_parameters');
  return parsed.data.after;
}

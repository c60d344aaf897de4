import { z } from 'zod';
import { ERRORS } from '../errors';
import { ConnectionRefused } from '../events';

/** How an operating system, an architecture or a version is called: `linux`, `x86_64`, `macOS 15.1`. */
export const MACHINE_WORD = /^[A-Za-z0-9](?:[A-Za-z0-9 ._+-]{0,62}[A-Za-z0-9._+-])?$/;
export const MACHINE_WORD_RULE = '1 to 64 of A-Z, a-z, 0-9, ".", "_", "+", "-" and blanks within';

const word = z.string().regex(MACHINE_WORD).optional();
const handshake = z.object({ os: word, arch: word, version: word });

/** What an agent reports when it connects; omitted fields keep their values. */
export interface Hello {
  readonly os?: string;
  readonly arch?: string;
  readonly version?: string;
}

/** Reads a handshake's `auth` beside its token. @throws ConnectionRefused if anything of it is not as it should be */
export function helloOf(auth: unknown): Hello {
  const { data } = handshake.safeParse(auth);
  if (!data) throw new ConnectionRefused(ERRORS.invalid_parameters.message, 'invalid_parameters');
  const { os, arch, version } = data;
  return { ...(os && { os }), ...(arch && { arch }), ...(version && { version }) };
}

const megabytes = z.number().min(0).max(1e9);

const report = z.object({
  /** Load averages of 1, 5 and 15 minutes. */
  load: z.array(z.number().min(0).max(1e6)).max(8).optional(),
  memory_total_mb: megabytes.optional(),
  memory_used_mb: megabytes.optional(),
  uptime_seconds: z.number().min(0).max(1e10).optional(),
});

/** What an agent reports about its machine. */
export type AgentStats = z.output<typeof report>;

/**
 * Reads the payload of a `heartbeat`. A field that is not known is left out: an agent may be newer than the server.
 *
 * @returns null if it is not what a heartbeat may hold
 */
export function parseHeartbeat(payload: unknown): AgentStats | null {
  return report.safeParse(payload ?? {}).data ?? null;
}

import { z } from 'zod';
import { DomainError } from '../errors';

/** The name of an operating system or architecture, or a version: `linux`, `x86_64`, `macOS 15.1`. */
export const MACHINE_WORD = /^[A-Za-z0-9](?:[A-Za-z0-9 ._+-]{0,62}[A-Za-z0-9._+-])?$/;
export const MACHINE_WORD_RULE = '1 to 64 of A-Z, a-z, 0-9, ".", "_", "+", "-" and inner spaces';

const word = z.string().regex(MACHINE_WORD).optional();
const handshake = z.object({ os: word, arch: word, version: word });

/** An agent's data about itself when it connects; absent fields keep their values. */
export interface Hello {
  readonly os?: string;
  readonly arch?: string;
  readonly version?: string;
}

/** Reads a handshake's `auth`, except its token. @throws DomainError `invalid_parameters` if a field is invalid */
export function helloOf(auth: unknown): Hello {
  const { data } = handshake.safeParse(auth);
  if (!data) throw new DomainError('invalid_parameters');
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

/** A heartbeat's data about the agent's machine. */
export type AgentStats = z.output<typeof report>;

/**
 * Parses the payload of a `heartbeat`. Unknown fields are dropped: an agent may be newer than the server.
 *
 * @returns null if the payload is invalid
 */
export function parseHeartbeat(payload: unknown): AgentStats | null {
  return report.safeParse(payload ?? {}).data ?? null;
}

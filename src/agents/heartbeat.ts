import { z } from 'zod';

const megabytes = z.number().min(0).max(1e9);

const report = z.object({
  /** Load averages of 1, 5 and 15 minutes. */
  load: z.array(z.number().min(0).max(1e6)).max(8).optional(),
  memory_total_mb: megabytes.optional(),
  memory_used_mb: megabytes.optional(),
  uptime_seconds: z.number().min(0).max(1e10).optional(),
});

/** What an agent told of its machine. */
export type AgentStats = z.output<typeof report>;

/**
 * Reads the payload of a `heartbeat`. A field that is not known is left out: an agent may be newer than the server.
 *
 * @returns null if it is not what a heartbeat may hold
 */
export function parseHeartbeat(payload: unknown): AgentStats | null {
  return report.safeParse(payload ?? {}).data ?? null;
}

import { freemem, loadavg, totalmem, uptime } from 'node:os';
import type { AgentStats } from '../agents/heartbeat';

const MEGABYTE = 2 ** 20;

/** How this machine is now. */
export function machineReport(): AgentStats {
  const total = totalmem();
  return {
    load: loadavg().map((average) => Math.round(average * 100) / 100),
    memory_total_mb: Math.round(total / MEGABYTE),
    // What is left out counts caches as free, as far as the operating system tells.
    memory_used_mb: Math.round((total - freemem()) / MEGABYTE),
    uptime_seconds: Math.floor(uptime()),
  };
}

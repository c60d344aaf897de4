import type Docker from 'dockerode';
import { z } from 'zod';
import { type ContainerStats, EngineError } from '../../engine';
import { abortable } from '../connection/client';

/** The fields of an inspection that statistics need. */
interface Facts {
  readonly startedAt: string;
  readonly runtime: string;
  /** Millicores; null means no limit. */
  readonly cpuShares: number | null;
}

const inspection = z.object({
  State: z.object({ StartedAt: z.string() }),
  HostConfig: z.object({
    Runtime: z.string().optional(),
    CpuPeriod: z.number().optional(),
    CpuQuota: z.number().optional(),
  }),
});

const answer = z.object({
  read: z.string(),
  pids_stats: z.object({ current: z.number().optional() }).nullish(),
  cpu_stats: z.object({
    cpu_usage: z.object({ total_usage: z.number() }),
    throttling_data: z.object({ periods: z.number(), throttled_periods: z.number() }).nullish(),
  }),
  memory_stats: z.object({
    usage: z.number().optional(),
    limit: z.number().optional(),
    stats: z.object({ total_inactive_file: z.number().optional(), inactive_file: z.number().optional() }).nullish(),
  }),
  networks: z.record(z.string(), z.object({ rx_bytes: z.number(), tx_bytes: z.number() })).nullish(),
});

/** Reads what a container has used. @throws EngineError `container_not_running`; Docker's refusal */
export async function lookAtStats(container: Docker.Container, signal: AbortSignal): Promise<ContainerStats> {
  // Without `one-shot` (API 1.41) Docker takes a second, to measure the CPU usage itself.
  const options: { stream: false } = abortable(signal, { stream: false, 'one-shot': true });
  const used = await container.stats(options);
  // Inspected each time, after the statistics: only this shows whether the container was started again since the last
  // call.
  return statsOf(used, factsOf(await container.inspect(abortable(signal, {}))));
}

/** @throws EngineError `docker_unavailable` if the inspection cannot be read */
export function factsOf(found: unknown): Facts {
  const { HostConfig, State } = readable(inspection, found);
  const { Runtime, CpuPeriod, CpuQuota } = HostConfig;
  return {
    startedAt: State.StartedAt,
    runtime: Runtime ?? '',
    cpuShares: CpuPeriod && CpuQuota ? (CpuQuota / CpuPeriod) * 1000 : null,
  };
}

/** @throws EngineError `container_not_running`; `docker_unavailable` if the statistics cannot be read */
export function statsOf(found: unknown, { startedAt, runtime, cpuShares }: Facts): ContainerStats {
  const { read, cpu_stats: cpu, memory_stats: memory, pids_stats: pids, networks } = readable(answer, found);
  // Docker (26.1) answers 200 with nothing but zeros for a container that has stopped.
  if (memory.usage === undefined) throw new EngineError('container_not_running', 'stats: the container does not run');
  // Like `docker stats`: memory that the kernel would reclaim at once does not count as used. cgroup v1, then v2.
  const cache = memory.stats?.total_inactive_file ?? memory.stats?.inactive_file ?? 0;
  const interfaces = networks ? Object.values(networks) : null;
  return {
    at: new Date(read),
    startedAt,
    cpu: {
      usedMs: cpu.cpu_usage.total_usage / 1e6,
      limitShares: cpuShares,
      periods: cpu.throttling_data?.periods ?? 0,
      throttledPeriods: cpu.throttling_data?.throttled_periods ?? 0,
    },
    memory: { usedBytes: Math.max(0, memory.usage - cache), limitBytes: memory.limit ?? null },
    // Under gVisor these are gVisor's own threads on the host, not the processes of the sandbox.
    pids: runtime === 'runsc' ? null : (pids?.current ?? null),
    network: interfaces && {
      rxBytes: interfaces.reduce((sum, { rx_bytes: bytes }) => sum + bytes, 0),
      txBytes: interfaces.reduce((sum, { tx_bytes: bytes }) => sum + bytes, 0),
    },
  };
}

function readable<T>(schema: z.ZodType<T>, found: unknown): T {
  const parsed = schema.safeParse(found);
  if (parsed.success) return parsed.data;
  throw new EngineError('docker_unavailable', "Docker's answer cannot be read", { cause: parsed.error });
}

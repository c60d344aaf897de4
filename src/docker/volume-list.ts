import type Docker from 'dockerode';
import { z } from 'zod';
import type { ListedVolume } from './container-engine';
import { LABELS } from './labels';
import { understood } from './observed-container';

const volumes = z.object({
  // Null, not empty, where there is none (Docker before 20.10).
  Volumes: z.array(z.object({ Name: z.string(), Labels: z.record(z.string(), z.string()).nullish() })).nullish(),
});

/** @throws EngineError `docker_unavailable` if the answer is no list of volumes */
export async function listOwnVolumes(
  docker: Docker,
  { instance, containerId }: { instance: string; containerId?: string },
  signal: AbortSignal,
): Promise<ListedVolume[]> {
  const label = [`${LABELS.instance}=${instance}`];
  if (containerId !== undefined) label.push(`${LABELS.containerId}=${containerId}`);
  const answer: unknown = await docker.listVolumes({ filters: { label }, abortSignal: signal });
  return (understood(volumes, answer).Volumes ?? []).map(({ Name, Labels }) => ({
    name: Name,
    containerId: Labels?.[LABELS.containerId] ?? null,
  }));
}

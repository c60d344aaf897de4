import type Docker from 'dockerode';
import { z } from 'zod';
import type { ListedVolume } from './container-engine';
import { LABELS } from './labels';
import { understood } from './observed-container';

const inspection = z.object({
  Name: z.string(),
  Labels: z.record(z.string(), z.string()).nullish(),
});

// Null, not empty, where there is none (Docker before 20.10).
const volumes = z.object({ Volumes: z.array(inspection).nullish() });

/** The name of a container's volume, or of one that its data was moved to. */
const NAME = /^berth-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:-v\d+-[0-9a-f]{8})?$/;

/**
 * By label, and those without labels by name: see {@link isBare}.
 *
 * @throws EngineError `docker_unavailable` if an answer is no list of volumes
 */
export async function listOwnVolumes(
  docker: Docker,
  { instance, containerId }: { instance: string; containerId?: string },
  signal: AbortSignal,
): Promise<ListedVolume[]> {
  const label = [`${LABELS.instance}=${instance}`];
  if (containerId !== undefined) label.push(`${LABELS.containerId}=${containerId}`);
  const [own, named] = await Promise.all([
    list(docker, { label }, signal),
    list(docker, { name: [`berth-${containerId ?? ''}`] }, signal),
  ]);
  const unlabelled = named
    .filter(({ Labels }) => isBare(Labels))
    .map(({ Name }) => ({ name: Name, containerId: NAME.exec(Name)?.[1] ?? null, labelled: false }))
    .filter((volume) => volume.containerId !== null);
  const labelled = own.map(({ Name, Labels }) => ({
    name: Name,
    containerId: Labels?.[LABELS.containerId] ?? null,
    labelled: true,
  }));
  return [...labelled, ...unlabelled];
}

async function list(
  docker: Docker,
  filters: Readonly<Record<string, string[]>>,
  signal: AbortSignal,
): Promise<z.infer<typeof inspection>[]> {
  const answer: unknown = await docker.listVolumes({ filters, abortSignal: signal });
  return understood(volumes, answer).Volumes ?? [];
}

/** @throws EngineError `docker_unavailable` if the answer is no inspection of a volume */
export function labelsOfVolume(answer: unknown): Readonly<Record<string, string>> {
  return understood(inspection, answer).Labels ?? {};
}

/**
 * Whether a volume carries none of Berth's labels. Docker (26.1) writes them, and the options, after it has made the volume's
 * folder: when it dies in between, it has a volume without either from then on, and takes it for what is asked for by that name.
 */
export function isBare(labels: Readonly<Record<string, string>> | null | undefined): boolean {
  return !Object.keys(labels ?? {}).some((label) => label.startsWith('berth.'));
}

import { createHash } from 'node:crypto';
import type Docker from 'dockerode';
import { z } from 'zod';
import type { ContainerSpec } from '../container-engine';
import { LABELS } from '../containers/create-options';
import type { RestrictedSandbox } from './allow-rules';
import { isKnownState } from '../containers/inspect';

const listing = z.array(z.object({ Labels: z.record(z.string(), z.string()).nullish() }));

/**
 * Docker gives it the address of its network card that it is created with, also after a restart, where its IP address
 * may be another. Derived, so that no label of an image can pass for another sandbox's.
 */
export function restrictedSandbox({
  network,
  owner: { containerId },
  generation,
}: Pick<ContainerSpec, 'network' | 'generation'> & {
  owner: Pick<ContainerSpec['owner'], 'containerId'>;
}): RestrictedSandbox | null {
  if (typeof network === 'string') return null;
  const digest = createHash('sha256')
    .update(JSON.stringify([containerId, generation, network.allow]))
    .digest('hex');
  // Locally administered, and not in the range of Docker's own (02:42).
  const macAddress = `0a:${(digest.match(/../g) ?? []).slice(0, 5).join(':')}`;
  return { macAddress, allow: network.allow };
}

/** @returns the sandbox that a container of these labels is; null if it is not restricted */
export function restrictedIn(labels: Readonly<Record<string, string>> | null | undefined): RestrictedSandbox | null {
  if (labels?.[LABELS.network] !== 'allow') return null;
  const allow = (labels[LABELS.allow] ?? '').split(',');
  const containerId = labels[LABELS.containerId] ?? '';
  return restrictedSandbox({
    network: { allow },
    owner: { containerId },
    generation: Number(labels[LABELS.generation]),
  });
}

/** All of an instance, running or not. @throws EngineError `docker_unavailable` if Docker's answer is not a list */
export async function restrictedSandboxes(
  docker: Docker,
  { instance, signal }: { instance: string; signal: AbortSignal },
): Promise<RestrictedSandbox[]> {
  const label = [`${LABELS.instance}=${instance}`, `${LABELS.network}=allow`];
  const answer: unknown = await docker.listContainers({ all: true, filters: { label }, abortSignal: signal });
  return isKnownState(listing, answer).flatMap(({ Labels }) => restrictedIn(Labels) ?? []);
}

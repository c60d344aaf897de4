import { createHash } from 'node:crypto';
import type Docker from 'dockerode';
import { z } from 'zod';
import type { ContainerSpec } from '../../engine';
import { LABELS } from '../model/labels';
import type { RestrictedSandbox } from './allow-rules';
import { isKnownState } from '../model/inspect';

const listing = z.array(z.object({ Labels: z.record(z.string(), z.string()).nullish() }));

/**
 * Docker keeps the MAC address that a container is created with across restarts, where its IP address may change. The
 * MAC address is derived, so that no label of an image can claim another sandbox's.
 *
 * @returns null if the sandbox is not restricted
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
  // Locally administered, and outside Docker's own range (02:42).
  const macAddress = `0a:${(digest.match(/../g) ?? []).slice(0, 5).join(':')}`;
  return { macAddress, allow: network.allow };
}

/** @returns the restricted sandbox that a container's labels describe; null if it is not restricted */
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

/**
 * All restricted sandboxes of an instance, running or not.
 *
 * @throws EngineError `docker_unavailable` if Docker's answer is not a list
 */
export async function restrictedSandboxes(
  docker: Docker,
  { instance, signal }: { instance: string; signal: AbortSignal },
): Promise<RestrictedSandbox[]> {
  const label = [`${LABELS.instance}=${instance}`, `${LABELS.network}=allow`];
  const answer: unknown = await docker.listContainers({ all: true, filters: { label }, abortSignal: signal });
  return isKnownState(listing, answer).flatMap(({ Labels }) => restrictedIn(Labels) ?? []);
}

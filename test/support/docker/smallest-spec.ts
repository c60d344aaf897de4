import { randomUUID } from 'node:crypto';
import type { ContainerSpec, OwnerLabels } from '../../../src/engine';
import { testImage } from '../clients/api-client';

/** The owner: an instance with random user and row ids, or the given labels. */
type Whose = { readonly instance: string } | { readonly owner: OwnerLabels };

/** The smallest container that Berth allows, with random names, except for the given fields. */
export function smallestSpec(named: Partial<ContainerSpec> & Whose): ContainerSpec {
  const { instance, ...changes } = { instance: '', ...named };
  const containerId = randomUUID();
  return {
    name: `berth-${containerId}`,
    image: testImage(),
    memoryMb: 256,
    cpuShares: 500,
    diskMb: 1024,
    network: 'internet',
    processes: 1024,
    volumeName: `berth-${containerId}`,
    owner: { instance, containerId, userId: randomUUID() },
    generation: 1,
    ...changes,
  };
}

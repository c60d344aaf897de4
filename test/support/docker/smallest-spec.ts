import { randomUUID } from 'node:crypto';
import type { ContainerSpec, OwnerLabels } from '../../../src/docker';
import { testImage } from '../clients/api-client';

/** Whose it is: an instance's, of a user and a row that nobody else has; or as it says. */
type Whose = { readonly instance: string } | { readonly owner: OwnerLabels };

/** The smallest container that Berth allows, with names that nobody else has, except for what is named. */
export function smallestSpec(named: Partial<ContainerSpec> & Whose): ContainerSpec {
  const { instance, ...changes } = { instance: '', ...named };
  const containerId = randomUUID();
  return {
    name: `berth-${containerId}`,
    image: testImage(),
    env: {},
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

import { ContainerRepository } from '../../src/containers/container.repository';
import type { ContainerRow } from '../../src/containers/container.entity';
import type { Operation } from '../../src/containers/container-state';
import type { Berth } from './berth';

/** Leaves a container as a process leaves it that died in the midst of this, some time ago. */
export async function claimAsDead({ app }: Berth, row: ContainerRow, operation: Operation): Promise<void> {
  const claim = { operation, operationId: 'dead', expiresAt: new Date(0), now: new Date() };
  expect(await app.get(ContainerRepository).claim(row, claim)).toBe(true);
}

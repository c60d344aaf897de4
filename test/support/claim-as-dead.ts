import type { ContainerRow, Operation } from '../../src/containers/container.entity';
import { ContainerRepository } from '../../src/containers/container.repository';
import { ProcessPresence } from '../../src/database';
import type { Berth } from './berth';

/** Leaves a container as an operation leaves it that was cut off in the midst of this; only a sweep takes it up by itself. */
export async function leaseAsDead({ app }: Berth, row: ContainerRow, operation: Operation): Promise<void> {
  const { holder } = app.get(ProcessPresence);
  const lease = { operation, operationId: 'dead', holder, expiresAt: new Date(0) };
  expect(await app.get(ContainerRepository).acquireLease(row, lease)).toBe(true);
}

import type { ContainerRow, Operation } from '../../../src/containers/model/container.entity';
import { LeaseStore } from '../../../src/containers/leases/lease-store';
import { sql } from '../../../src/database';
import type { Berth } from '../servers/berth';

/** Leaves a container as an operation leaves it whose process died. Only a sweep takes it over by itself. */
export async function leaseAsDead({ app }: Berth, row: ContainerRow, operation: Operation): Promise<void> {
  const store = app.get(LeaseStore);
  const { stamp } = store.newGrant('operation', row.id);
  const grant = {
    kind: 'operation',
    containerId: row.id,
    leaseId: 'dead',
    stamp: { ...stamp, expiresAt: new Date(0) },
  } as const;
  const isLeased = await store.acquire(grant, {
    set: { operation, operationCancelled: false, revision: row.revision + 1 },
    where: sql`revision = ${row.revision}`,
  });
  expect(isLeased).toBe(true);
}

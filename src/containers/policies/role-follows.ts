import type { ContainerRow, RoleStatus } from '../model/container.entity';

/** The columns about a container's role. */
type RoleColumns = Pick<ContainerRow, 'roleStatus' | 'roleClaimId' | 'roleClaimHolder' | 'roleClaimExpiresAt'>;

/** The columns of a change that affect the role. */
type Change = Partial<Pick<ContainerRow, 'status' | 'engineId' | 'deletedAt'>>;

/** To be installed. Clears the lease, so that a current installer can write no more. */
const PENDING: RoleColumns = {
  roleStatus: 'pending',
  roleClaimId: null,
  roleClaimHolder: null,
  roleClaimExpiresAt: null,
};

/**
 * The statuses of a role that is not installed yet: when the container stops, a running installation is interrupted.
 */
const UNFINISHED: readonly (RoleStatus | null)[] = ['pending', 'installing'];

/**
 * The role columns after a change of a container. A new Docker container has only its image's contents, and an
 * installation ends with its container, so both require another check. Applied to every write, so that no operation
 * can forget it.
 */
export function roleAfterReplacement(row: ContainerRow, change: Change): Partial<RoleColumns> {
  if (row.roleStatus === null) return {};
  if (change.engineId !== undefined && change.engineId !== row.engineId) return PENDING;
  const ends = change.status !== undefined && change.status !== 'running' && row.status === 'running';
  const starts = change.status === 'running' && row.status !== 'running';
  if (!ends && !starts && change.deletedAt == null) return {};
  return UNFINISHED.includes(row.roleStatus) ? PENDING : {};
}

/**
 * A failed role is retried when an operation commits that the container runs again. A restart by Docker that is only
 * followed does not retry it.
 */
export function roleTriedAgain(row: ContainerRow, change: Change): Partial<RoleColumns> {
  const starts = change.status === 'running' && row.status !== 'running';
  return starts && row.roleStatus === 'failed' ? PENDING : {};
}

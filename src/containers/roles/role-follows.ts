import type { ContainerRow, RoleStatus } from '../container.entity';

/** The columns about a container's role. */
type RoleColumns = Pick<ContainerRow, 'roleStatus' | 'roleClaimId' | 'roleClaimHolder' | 'roleClaimExpiresAt'>;

/** What of a change of a container concerns its role. */
type Change = Partial<Pick<ContainerRow, 'status' | 'dockerId' | 'deletedAt'>>;

/** To be installed; a current installer may write no more. */
const PENDING: RoleColumns = {
  roleStatus: 'pending',
  roleClaimId: null,
  roleClaimHolder: null,
  roleClaimExpiresAt: null,
};

/** When a container ends, an installation that is running in it is interrupted. */
const UNFINISHED: readonly (RoleStatus | null)[] = ['pending', 'installing'];

/**
 * What a change of a container means for its role. A new Docker container has only its image's contents, and an
 * installation ends with its container, so both require another check. Applied to every write, so that no operation can
 * forget it.
 */
export function roleAfterReplacement(row: ContainerRow, change: Change): Partial<RoleColumns> {
  if (row.roleStatus === null) return {};
  if (change.dockerId !== undefined && change.dockerId !== row.dockerId) return PENDING;
  const ends = change.status !== undefined && change.status !== 'running' && row.status === 'running';
  const starts = change.status === 'running' && row.status !== 'running';
  if (!ends && !starts && change.deletedAt == null) return {};
  return UNFINISHED.includes(row.roleStatus) ? PENDING : {};
}

/** A role that could not be installed is retried when somebody starts the container. */
export function roleTriedAgain(row: ContainerRow, change: Change): Partial<RoleColumns> {
  const starts = change.status === 'running' && row.status !== 'running';
  return starts && row.roleStatus === 'failed' ? PENDING : {};
}

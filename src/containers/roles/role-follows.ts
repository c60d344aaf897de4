import type { ContainerRow, RoleStatus } from '../container.entity';

/** The columns about a container's role. */
type RoleColumns = Pick<ContainerRow, 'roleStatus' | 'roleClaimId' | 'roleClaimHolder' | 'roleClaimExpiresAt'>;

/** What of a change of a container concerns its role. */
type Change = Partial<Pick<ContainerRow, 'status' | 'dockerId' | 'deletedAt'>>;

/** To be installed, and whoever is at it may write no more. */
const PENDING: RoleColumns = {
  roleStatus: 'pending',
  roleClaimId: null,
  roleClaimHolder: null,
  roleClaimExpiresAt: null,
};

/** What is left where a container ends: an installation that ran in it is cut off. */
const UNFINISHED: readonly (RoleStatus | null)[] = ['pending', 'installing'];

/**
 * What a change of a container means for its role. A new Docker container has nothing but its image, and an installation
 * ends with the container that it runs in, so that both are to be looked at again. Asked for every write, so that no
 * operation can forget it.
 */
export function roleAfterReplacement(row: ContainerRow, change: Change): Partial<RoleColumns> {
  if (row.roleStatus === null) return {};
  if (change.dockerId !== undefined && change.dockerId !== row.dockerId) return PENDING;
  const ends = change.status !== undefined && change.status !== 'running' && row.status === 'running';
  const starts = change.status === 'running' && row.status !== 'running';
  if (!ends && !starts && change.deletedAt == null) return {};
  return UNFINISHED.includes(row.roleStatus) ? PENDING : {};
}

/** A role that could not be installed is tried again when somebody starts the container. */
export function roleTriedAgain(row: ContainerRow, change: Change): Partial<RoleColumns> {
  const starts = change.status === 'running' && row.status !== 'running';
  return starts && row.roleStatus === 'failed' ? PENDING : {};
}

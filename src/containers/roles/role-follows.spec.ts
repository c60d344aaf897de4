import type { ContainerRow } from '../container.entity';
import type { RoleStatus } from '../container-state';
import { roleFollows, roleTriedAgain } from './role-follows';

const PENDING = { roleStatus: 'pending', roleClaimId: null, roleClaimHolder: null, roleClaimExpiresAt: null };
const row = (roleStatus: RoleStatus | null, status: ContainerRow['status'] = 'running'): ContainerRow =>
  ({ roleStatus, status, dockerId: 'old', deletedAt: null }) as ContainerRow;

describe('what becomes of a role', () => {
  it.each<RoleStatus>(['pending', 'installing', 'installed', 'failed'])(
    'must be to install it where a %s one gets a new Docker container',
    (roleStatus) => {
      expect(roleFollows(row(roleStatus), { dockerId: 'new', status: 'running' })).toEqual(PENDING);
      expect(roleFollows(row(roleStatus, 'stopped'), { dockerId: 'new' })).toEqual(PENDING);
    },
  );

  it.each<[string, ContainerRow['status'], Parameters<typeof roleFollows>[1]]>([
    ['stops', 'running', { status: 'stopped' }],
    ['is deleted', 'running', { deletedAt: new Date() }],
    ['is deleted when it is stopped', 'stopped', { deletedAt: new Date() }],
    ['starts', 'stopped', { status: 'running' }],
  ])('must be decided anew by nobody but the next installer where the container %s', (_what, status, change) => {
    expect(roleFollows(row('installing', status), change)).toEqual(PENDING);
    expect(roleFollows(row('pending', status), change)).toEqual(PENDING);
    expect(roleFollows(row('installed', status), change)).toEqual({});
    expect(roleFollows(row('failed', status), change)).toEqual({});
  });

  it('must be left alone by what does not concern it', () => {
    for (const change of [{}, { status: 'running' as const }, { dockerId: 'old' }]) {
      expect(roleFollows(row('installing'), change)).toEqual({});
    }
    expect(roleFollows(row(null, 'stopped'), { dockerId: 'new', status: 'running' })).toEqual({});
  });

  it('must be tried again after a failure when the container is started', () => {
    expect(roleTriedAgain(row('failed', 'stopped'), { status: 'running' })).toEqual(PENDING);
    expect(roleTriedAgain(row('failed'), { status: 'running' })).toEqual({});
    expect(roleTriedAgain(row('failed'), { status: 'stopped' })).toEqual({});
    expect(roleTriedAgain(row('installed', 'stopped'), { status: 'running' })).toEqual({});
  });
});

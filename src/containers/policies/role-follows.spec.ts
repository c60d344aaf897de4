import type { ContainerRow, RoleStatus } from '../model/container.entity';
import { roleAfterReplacement, roleTriedAgain } from './role-follows';

const PENDING = { roleStatus: 'pending', roleClaimId: null, roleClaimHolder: null, roleClaimExpiresAt: null };
const row = (roleStatus: RoleStatus | null, status: ContainerRow['status'] = 'running'): ContainerRow =>
  ({ roleStatus, status, engineId: 'old', deletedAt: null }) as ContainerRow;

describe('what becomes of a role', () => {
  it.each<RoleStatus>(['pending', 'installing', 'installed', 'failed'])(
    'must be to install it where a %s one gets a new Docker container',
    (roleStatus) => {
      expect(roleAfterReplacement(row(roleStatus), { engineId: 'new', status: 'running' })).toEqual(PENDING);
      expect(roleAfterReplacement(row(roleStatus, 'stopped'), { engineId: 'new' })).toEqual(PENDING);
    },
  );

  it.each<[string, ContainerRow['status'], Parameters<typeof roleAfterReplacement>[1]]>([
    ['stops', 'running', { status: 'stopped' }],
    ['is deleted', 'running', { deletedAt: new Date() }],
    ['is deleted when it is stopped', 'stopped', { deletedAt: new Date() }],
    ['starts', 'stopped', { status: 'running' }],
  ])('must be decided again only by the next installer where the container %s', (_what, status, change) => {
    expect(roleAfterReplacement(row('installing', status), change)).toEqual(PENDING);
    expect(roleAfterReplacement(row('pending', status), change)).toEqual(PENDING);
    expect(roleAfterReplacement(row('installed', status), change)).toEqual({});
    expect(roleAfterReplacement(row('failed', status), change)).toEqual({});
  });

  it('must be left alone by what does not concern it', () => {
    for (const change of [{}, { status: 'running' as const }, { engineId: 'old' }]) {
      expect(roleAfterReplacement(row('installing'), change)).toEqual({});
    }
    expect(roleAfterReplacement(row(null, 'stopped'), { engineId: 'new', status: 'running' })).toEqual({});
  });

  it('must be tried again after a failure when the container is started', () => {
    expect(roleTriedAgain(row('failed', 'stopped'), { status: 'running' })).toEqual(PENDING);
    expect(roleTriedAgain(row('failed'), { status: 'running' })).toEqual({});
    expect(roleTriedAgain(row('failed'), { status: 'stopped' })).toEqual({});
    expect(roleTriedAgain(row('installed', 'stopped'), { status: 'running' })).toEqual({});
  });
});

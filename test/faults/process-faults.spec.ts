import type { HeldLease } from './database-view';
import { leftAlone } from './process-faults';

const LEASE: HeldLease = { id: 'c', operation: 'stop', operationId: 'one', expiresAt: '12:00' };

describe('leases that a dead process held', () => {
  it.each<[string, HeldLease[], number]>([
    ['are still there', [LEASE], 1],
    ['were ended', [], 0],
    ['were taken over', [{ ...LEASE, operationId: 'two' }], 0],
    ['were renewed, so that their holder lives', [{ ...LEASE, expiresAt: '12:01' }], 0],
    ['are another container’s by now', [{ ...LEASE, id: 'd', operationId: 'two' }], 0],
  ])('that %s: complaints must be right', (_what, after, complaints) => {
    expect(leftAlone([LEASE], after)).toHaveLength(complaints);
  });
});

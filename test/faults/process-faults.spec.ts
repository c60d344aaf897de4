import type { HeldLease } from './database-view';
import { leftAlone } from './process-faults';

const CLAIM: HeldLease = { id: 'c', operation: 'stop', operationId: 'one', expiresAt: '12:00' };

describe('claims that a dead process held', () => {
  it.each<[string, HeldLease[], number]>([
    ['are still there', [CLAIM], 1],
    ['were ended', [], 0],
    ['were taken over', [{ ...CLAIM, operationId: 'two' }], 0],
    ['were renewed, so that their holder lives', [{ ...CLAIM, expiresAt: '12:01' }], 0],
    ['are another container’s by now', [{ ...CLAIM, id: 'd', operationId: 'two' }], 0],
  ])('that %s: complaints must be right', (_what, after, complaints) => {
    expect(leftAlone([CLAIM], after)).toHaveLength(complaints);
  });
});

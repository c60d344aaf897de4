import type { HeldLease } from './lease-store';
import { LeaseLedger } from './lease-ledger';
import { TERM_OVER } from './lease-term';

const TERM_MS = 30_000;
const ABSENT_MS = 3_000;
const UNHELD_MS = 8_000;

/** What a row may say of a lease after its holder's or the reader's clock was set, in hours from now. */
const EXPIRIES = [-24, -1, 0, 1, 24];

describe('a lease', () => {
  const lease = (more: Partial<HeldLease> = {}): HeldLease => ({
    containerId: 'one',
    kind: 'operation',
    leaseId: 'its',
    expiresAt: new Date(Date.now() + TERM_MS),
    isAbsent: false,
    isUnheld: false,
    ...more,
  });
  let ledger: LeaseLedger;
  const abandoned = (seen: HeldLease, now: number): string[] => ledger.note([seen], now).map(({ why }) => why);

  beforeEach(() => {
    ledger = new LeaseLedger({ termMs: TERM_MS, absentForMs: ABSENT_MS, unheldForMs: UNHELD_MS });
  });

  it.each(EXPIRIES)('must be over when it was not renewed for a term, if its row says it ends in %d h', (hours) => {
    const held = lease({ expiresAt: new Date(Date.now() + hours * 3_600_000) });
    expect(abandoned(held, 5)).toEqual([]);
    expect(abandoned(held, TERM_MS + 4)).toEqual([]);
    expect(abandoned(held, TERM_MS + 5)).toEqual(['not_renewed']);
  });

  it('must last as long as it is renewed, also with an earlier time', () => {
    for (let renewals = 0; renewals < 10; renewals += 1) {
      const renewed = lease({ expiresAt: new Date(1_000_000 - renewals) });
      expect(abandoned(renewed, renewals * (TERM_MS - 1))).toEqual([]);
    }
  });

  it('must be over soon after its process is gone, and not where that is back in time or has renewed it', () => {
    const gone = lease({ isAbsent: true });
    expect(abandoned(gone, 0)).toEqual([]);
    expect(abandoned(gone, ABSENT_MS - 1)).toEqual([]);
    expect(abandoned({ ...gone, isAbsent: false }, ABSENT_MS)).toEqual([]);
    expect(abandoned(gone, ABSENT_MS + 1)).toEqual([]);
    expect(abandoned({ ...gone, expiresAt: new Date(gone.expiresAt.getTime() + 1) }, 2 * ABSENT_MS)).toEqual([]);
    expect(abandoned(gone, 2 * ABSENT_MS + 1)).toEqual([]);
    expect(abandoned(gone, 3 * ABSENT_MS + 1)).toEqual(['absent']);
  });

  it('must be over soon after this process, whose it is, does not hold it, and not where it has learned of it', () => {
    const lost = lease({ isUnheld: true });
    expect(abandoned(lost, 0)).toEqual([]);
    expect(abandoned(lost, UNHELD_MS - 1)).toEqual([]);
    expect(abandoned({ ...lost, isUnheld: false }, UNHELD_MS)).toEqual([]);
    expect(abandoned(lost, UNHELD_MS + 1)).toEqual([]);
    expect(abandoned(lost, 2 * UNHELD_MS)).toEqual([]);
    expect(abandoned(lost, 2 * UNHELD_MS + 1)).toEqual(['unheld']);
    expect(abandoned(lease({ isUnheld: true, expiresAt: TERM_OVER }), 4 * UNHELD_MS)).toEqual([]);
    expect(abandoned(lease({ isUnheld: true, expiresAt: TERM_OVER }), 8 * UNHELD_MS)).toEqual([]);
  });

  it('must be left to its holder once its term is over, unless that is gone too', () => {
    expect(abandoned(lease({ expiresAt: TERM_OVER }), 0)).toEqual([]);
    expect(abandoned(lease({ expiresAt: TERM_OVER }), 2 * TERM_MS)).toEqual([]);
    expect(abandoned(lease({ expiresAt: TERM_OVER, isAbsent: true }), 2 * TERM_MS)).toEqual([]);
    expect(abandoned(lease({ expiresAt: TERM_OVER, isAbsent: true }), 2 * TERM_MS + ABSENT_MS)).toEqual(['absent']);
  });
});

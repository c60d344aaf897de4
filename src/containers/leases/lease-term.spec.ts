import type { ProcessPresence } from '../../database';
import { type LeaseTerm, LeaseTerms } from './lease-term';

const TERM_S = 30;

describe('the term of a lease', () => {
  let session: number;
  let ended: boolean;
  let proven: boolean;
  let prove: jest.Mock<Promise<number>, []>;
  let renew: jest.Mock<Promise<boolean>, []>;
  let term: LeaseTerm;

  beforeEach(() => {
    jest.useFakeTimers();
    session = 1;
    ended = false;
    proven = true;
    prove = jest.fn(() => {
      proven = true;
      return Promise.resolve(session);
    });
    renew = jest.fn(() => Promise.resolve(true));
    const presence = {
      holder: 'this process',
      get session() {
        return session;
      },
      get hasEnded() {
        return ended;
      },
      isProven: (asked: number) => proven && asked === session,
      prove,
    };
    const terms = new LeaseTerms(presence as unknown as ProcessPresence, { OPERATION_CLAIM_SECONDS: TERM_S });
    term = terms.begin(terms.stamp(), renew);
  });

  afterEach(() => jest.useRealTimers());

  it('must count from before the write of the lease', () => {
    expect(term.isSure).toBe(true);
    jest.advanceTimersByTime(TERM_S * 1000 - 1);
    expect(term.isSure).toBe(true);
    jest.advanceTimersByTime(1);
    expect(term.isSure).toBe(false);
  });

  it('must be written again by its holder, if nobody has taken the lease, when it has run out', async () => {
    jest.advanceTimersByTime(TERM_S * 1000);
    expect(await term.confirm()).toBe(true);
    jest.advanceTimersByTime(TERM_S * 1000);
    renew.mockResolvedValueOnce(false);
    expect(await term.confirm()).toBe(false);
    expect(renew).toHaveBeenCalledTimes(2);
  });

  it('must not be acted on without the presence of its process, and go on with the same one without a write', async () => {
    proven = false;
    expect(term.isSure).toBe(false);
    expect(await term.confirm()).toBe(true);
    expect(renew).not.toHaveBeenCalled();
  });

  it('must be written again under another presence', async () => {
    session = 2;
    expect(await term.confirm()).toBe(true);
    expect(renew).toHaveBeenCalledTimes(1);
    session = 3;
    renew.mockResolvedValueOnce(false);
    expect(await term.confirm()).toBe(false);
  });

  it('must not be confirmed by a database that does not answer, and be given up at its end', async () => {
    proven = false;
    prove.mockRejectedValue(new Error('no answer'));
    const confirmed = term.confirm();
    await jest.advanceTimersByTimeAsync(TERM_S * 1000 + 1_000);
    expect(await confirmed).toBe(false);
  });

  it('must be given up at once when the process has ended, with its database', async () => {
    ended = true;
    renew.mockRejectedValue(new Error('the database is closed'));
    expect(await term.rewrite()).toBe(false);
    await jest.advanceTimersByTimeAsync(TERM_S * 1000);
    expect(renew).toHaveBeenCalledTimes(1);
  });

  it('must not outlast a wall clock that goes on while the machine is suspended', () => {
    jest.setSystemTime(Date.now() + TERM_S * 1000);
    expect(term.isSure).toBe(false);
  });

  it('must not be made longer by a clock that is set back', () => {
    jest.setSystemTime(Date.now() - 3_600_000);
    jest.advanceTimersByTime(TERM_S * 1000);
    expect(term.isSure).toBe(false);
  });
});

import { createLogger } from '../logging';
import { Clock } from '../scheduling';
import { LocalSignals } from '../signals';
import { TiersService } from '../tiers';
import { type ConnectionGroup, type OpenConnection, OpenConnections } from './open-connections';
import { TokenService } from './token.service';
import { UserService } from './user.service';

const DAY = 24 * 3_600_000;

type Tokens = Pick<TokenService, 'stillValid'>;

let signals: LocalSignals;
let valid: Set<string>;
let tiers: Map<string, string>;
let watch: OpenConnections;

function begin(tokens: Tokens = { stillValid: () => Promise.resolve(valid) }): OpenConnections {
  const users: Pick<UserService, 'tiersOf'> = {
    tiersOf: (ids) => Promise.resolve(new Map([...tiers].filter(([id]) => ids.includes(id)))),
  };
  const rights: Pick<TiersService, 'allowsExec'> = { allowsExec: (tier) => tier === 'open' };
  const [clock, logger] = [new Clock(), createLogger({ LOG_LEVEL: 'silent' })];
  return new OpenConnections(
    tokens as TokenService,
    users as UserService,
    rights as TiersService,
    clock,
    signals,
    logger,
  );
}

beforeEach(() => {
  signals = new LocalSignals();
  [valid, tiers] = [new Set(), new Map()];
  watch = begin();
});

afterEach(() => {
  watch.onApplicationShutdown();
  jest.restoreAllMocks();
  jest.useRealTimers();
});

const opened = (connection: Omit<OpenConnection, 'end'>) => {
  const end = jest.fn();
  return { end, remove: watch.add({ ...connection, end }) };
};
const withToken = (tokenId: string, tokenExpiresAt: Date | null = null) =>
  opened({ token: { tokenId, tokenExpiresAt } });
const settled = (): Promise<void> => new Promise(setImmediate);

describe('a connection that depends on a token', () => {
  beforeEach(() => jest.useFakeTimers());

  it('must be ended at the time of expiry, also when that is further away than a timer can be set', () => {
    const { end } = withToken('t', new Date(Date.now() + 100 * DAY));
    jest.advanceTimersByTime(100 * DAY - 1);
    expect(end).not.toHaveBeenCalled();
    jest.advanceTimersByTime(1);
    jest.advanceTimersByTime(100 * DAY);
    expect(end).toHaveBeenCalledTimes(1);
  });

  it('must be ended once when the token is revoked, with all others of the token', () => {
    const users = [withToken('t'), withToken('t', new Date(Date.now() + DAY)), withToken('other')];
    signals.publish('token_revoked', { tokenId: 't' });
    signals.publish('token_revoked', { tokenId: 't' });
    expect(users.map(({ end }) => end.mock.calls.length)).toEqual([1, 1, 0]);
    expect(users[0]?.end).toHaveBeenCalledWith(expect.objectContaining({ kind: 'unauthorized' }));
  });

  it('must be ended at once if it comes with a token that was revoked just now', () => {
    signals.publish('token_revoked', { tokenId: 't' });
    expect(withToken('t').end).toHaveBeenCalledTimes(1);
  });

  it('must be ended after a revocation of which no signal came', async () => {
    const [gone, stays] = [withToken('gone'), withToken('stays')];
    valid.add('stays');
    await watch.recheckTokens();
    expect([gone.end.mock.calls.length, stays.end.mock.calls.length]).toEqual([1, 0]);
  });

  it('must stay open where a failing database cannot answer for the token', async () => {
    watch.onApplicationShutdown();
    watch = begin({ stillValid: () => Promise.reject(new Error('no database')) });
    const { end } = withToken('t');
    await expect(watch.recheckTokens()).rejects.toThrow('no database');
    expect(end).not.toHaveBeenCalled();
  });

  it('must not be ended once it was removed, and keep no timer', () => {
    const [set, cleared] = [jest.spyOn(globalThis, 'setTimeout'), jest.spyOn(globalThis, 'clearTimeout')];
    const { end, remove } = withToken('t', new Date(Date.now() + DAY));
    remove();
    remove();
    expect(set).toHaveBeenCalledTimes(1);
    expect(cleared).toHaveBeenCalledWith(set.mock.results[0]?.value);
    jest.advanceTimersByTime(2 * DAY);
    expect(end).not.toHaveBeenCalled();
  });
});

describe('a connection that depends on exec access', () => {
  it('must be ended when its user is moved to a tier without it, and at the next check again if asked for', async () => {
    tiers = new Map([
      ['moved', 'closed'],
      ['other', 'closed'],
      ['stays', 'open'],
    ]);
    const [once, retried] = [opened({ execBy: 'moved' }), opened({ execBy: 'moved', isRetried: true })];
    const others = [opened({ execBy: 'other' }), opened({ execBy: 'stays' })];
    signals.publish('user_moved', { userId: 'moved' });
    signals.publish('user_moved', { userId: 'stays' });
    await settled();
    signals.publish('user_moved', { userId: 'moved' });
    await settled();
    expect([once, retried, ...others].map(({ end }) => end.mock.calls.length)).toEqual([1, 2, 0, 0]);
    const reason = expect.objectContaining({ kind: 'exec_not_allowed', options: { fields: { tier: 'closed' } } });
    expect(once.end).toHaveBeenCalledWith(reason);
  });

  it('must be ended if it comes with a tier that was read just before the move', async () => {
    tiers.set('moved', 'closed');
    signals.publish('user_moved', { userId: 'moved' });
    const { end } = opened({ execBy: 'moved' });
    await settled();
    expect(end).toHaveBeenCalledTimes(1);
  });

  it('must abort the signal of work with the reason, and with that of a client who has gone', () => {
    const caller = { userId: 'u', tokenId: 't', tokenExpiresAt: null };
    const [gone, reason] = [new AbortController(), new Error('gone')];
    const [revoked, left] = [
      watch.accessOf(caller),
      watch.accessOf({ ...caller, tokenId: 'x' }, { gone: gone.signal }),
    ];
    const over = watch.accessOf({ ...caller, tokenId: 'y' }, { gone: gone.signal });
    over.leave();
    gone.abort(reason);
    signals.publish('token_revoked', { tokenId: 't' });
    expect(revoked.signal.reason).toMatchObject({ kind: 'unauthorized' });
    expect([left.signal.reason, over.signal.aborted]).toEqual([reason, false]);
  });
});

describe('a group of connections', () => {
  interface Named extends OpenConnection {
    readonly name: string;
  }

  const ended: string[] = [];
  const faults: unknown[] = [];
  let refused: string[];
  let unknown: string[];
  let group: ConnectionGroup<Named>;

  const named = (name: string): Named => ({ name, end: ({ kind }) => void ended.push(`${name} ${kind}`) });
  const check = async (userId: string): Promise<void> => {
    signals.publish('user_suspended', { userId });
    await settled();
  };

  beforeEach(() => {
    ended.length = faults.length = 0;
    [refused, unknown] = [[], []];
    group = watch.group<Named>({
      everyMs: 3_600_000,
      round:
        () =>
        ({ name }) =>
          unknown.includes(name) ? Promise.reject(new Error(name)) : Promise.resolve(!refused.includes(name)),
      signals: {
        user_suspended: ({ name }, { userId }) => name !== userId,
      },
      onFault: (error) => void faults.push(error),
    });
  });

  it('must end what its check refuses, among those that a signal concerns', async () => {
    for (const name of ['a', 'b', 'c']) group.add(named(name));
    refused = ['a', 'b'];
    await check('b');
    expect([ended, faults]).toEqual([['a container_not_running'], []]);
  });

  it('must keep open what cannot be checked, and end the others', async () => {
    for (const name of ['a', 'b']) group.add(named(name));
    [unknown, refused] = [['a'], ['b']];
    await check('');
    expect([ended, faults]).toEqual([['b container_not_running'], [new Error('a')]]);
  });

  it('must forget what was removed, and end all others when it is closed', async () => {
    const remove = group.add(named('a'));
    group.add(named('b'));
    remove();
    refused = ['a'];
    await check('');
    expect([ended, group.isClosed]).toEqual([[], false]);
    group.close();
    expect([ended, group.isClosed]).toEqual([['b shutting_down'], true]);
  });
});

import { Excuses } from './excuses';

const ADA = { user: 'ada', member: 'server-1' };
const AFTERMATH_MS = 10_000;

describe('the excuses of faults', () => {
  let now = 0;
  const excuses = (): Excuses => new Excuses(() => now);
  const spend = (ms: number) => async (): Promise<void> => {
    now += ms;
    await Promise.resolve();
  };
  beforeEach(() => (now = 1_000));

  it('must hold for requests that overlap with the fault or its aftermath, and for no others', async () => {
    const some = excuses();
    expect(some.since(0, ADA)).toEqual(new Set());
    await some.during('database_down', {}, spend(500));
    expect(some.since(900, ADA)).toEqual(new Set(['database_down']));
    now += AFTERMATH_MS * 2;
    expect(some.since(1_500 + AFTERMATH_MS, ADA)).toEqual(new Set(['database_down']));
    expect(some.since(1_501 + AFTERMATH_MS, ADA)).toEqual(new Set());
  });

  it('must hold while the fault goes on', async () => {
    const some = excuses();
    await some.during('docker_emptied', {}, async () => {
      now += AFTERMATH_MS * 2;
      expect(some.since(now, ADA)).toEqual(new Set(['docker_emptied']));
      await Promise.resolve();
    });
  });

  it('must hold for a fault that could not be ended as well', async () => {
    const some = excuses();
    await expect(some.during('database_down', {}, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(some.since(now, ADA)).toEqual(new Set(['database_down']));
  });

  it('must hold for the user and the process that are concerned alone', async () => {
    const some = excuses();
    await some.during('database_busy', { user: 'ada' }, spend(10));
    await some.during('database_down', { member: 'server-2' }, spend(10));
    expect(some.since(0, ADA)).toEqual(new Set(['database_busy']));
    expect(some.since(0, { user: 'eve', member: 'server-2' })).toEqual(new Set(['database_down']));
    expect(some.since(0, { user: 'eve', member: 'server-1' })).toEqual(new Set());
  });
});

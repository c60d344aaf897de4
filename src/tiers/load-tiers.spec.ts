import { ConfigError, parseConfig } from '../config';
import { loadTiers, loadTierTable } from './load-tiers';

describe('the tier table under the settings', () => {
  it('must be the table as it is where they say nothing', () => {
    expect(loadTiers(parseConfig({}))).toEqual(loadTierTable(undefined));
  });

  it('must give guests the session of GUEST_SESSION, and nobody else', () => {
    const tiers = loadTiers(parseConfig({ GUEST_SESSION: '90m' }));
    expect(tiers.get('guest')).toMatchObject({ sessionSeconds: 5400, sessionOnce: true, containers: 1 });
    expect([...tiers].slice(1)).toEqual([...loadTierTable(undefined)].slice(1));
  });

  it('must stop what is idle by IDLE_STOP_AFTER', () => {
    const tiers = loadTiers(parseConfig({ IDLE_STOP_AFTER: 'free=30m' }));
    expect(tiers.get('free')?.autoStopSeconds).toBe(1800);
    expect(tiers.get('pro')?.autoStopSeconds).toBeNull();
  });

  it('must be refused with an IDLE_STOP_AFTER that names tiers which are not in it, and say which are', () => {
    const settings = parseConfig({ IDLE_STOP_AFTER: 'guest=30m,gold=1h,platinum=2h' });
    expect(() => loadTiers(settings)).toThrow(ConfigError);
    expect(() => loadTiers(settings)).toThrow(/IDLE_STOP_AFTER(.|\n)*"gold".*guest, free, pro(.|\n)*"platinum"/);
  });
});

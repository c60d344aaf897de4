import { DomainError } from '../errors';
import { loadTierTable } from './load-tiers';
import { TiersService } from './tiers.service';

const tiers = new TiersService(loadTierTable(undefined));
const within = { memory_mb: 256, cpu_shares: 250, disk_mb: 1024 };

function faultsOf(tier: string, resources: typeof within): unknown {
  try {
    tiers.assertWithin(tier, resources);
  } catch (error) {
    if (error instanceof DomainError) return error.options.fields?.['details'];
    throw error;
  }
  return [];
}

describe("a tier's limits", () => {
  it('must have a default for what a request leaves out, the same on all tiers that allow so much', () => {
    for (const tier of ['free', 'pro', 'enterprise']) {
      expect(tiers.resolve(tier, {})).toEqual({ memory_mb: 1024, cpu_shares: 1000, disk_mb: 10240 });
    }
    expect(tiers.resolve('guest', {})).toEqual({ memory_mb: 512, cpu_shares: 500, disk_mb: 2048 });
    expect(tiers.resolve('free', { cpu_shares: 750, disk_mb: undefined })).toEqual({
      memory_mb: 1024,
      cpu_shares: 750,
      disk_mb: 10240,
    });
  });

  it('must allow everything from the minimum to the maximum', () => {
    expect(faultsOf('free', within)).toEqual([]);
    expect(faultsOf('free', tiers.limitsOf('free').max)).toEqual([]);
  });

  it.each([
    ['memory_mb', 255, 256, 2048],
    ['memory_mb', 2049, 256, 2048],
    ['cpu_shares', 249, 250, 2000],
    ['cpu_shares', 2001, 250, 2000],
    ['disk_mb', 1023, 1024, 10240],
    ['disk_mb', 10241, 1024, 10240],
    ['memory_mb', Number.NaN, 256, 2048],
    ['memory_mb', 300.5, 256, 2048],
    ['memory_mb', Number.POSITIVE_INFINITY, 256, 2048],
  ])('must refuse %s of %d, and say what is allowed', (field, value, min, max) => {
    expect(faultsOf('free', { ...within, [field]: value })).toEqual([
      {
        field,
        message: expect.stringContaining(`from ${String(min)} to ${String(max)}`) as unknown,
        min,
        max,
        tier: 'free',
      },
    ]);
  });

  it('must name every field that is outside of them', () => {
    expect(faultsOf('guest', { memory_mb: 1, cpu_shares: 1, disk_mb: 1 })).toHaveLength(3);
  });

  it('must not be made up for a tier that does not exist', () => {
    expect(() => tiers.limitsOf('gold')).toThrow(/"gold" is not in the tier table/);
    expect(tiers.has('gold')).toBe(false);
    expect(tiers.has('__proto__')).toBe(false);
  });

  it('must bound the network, and be that of a container which asks for none', () => {
    const free = tiers.limitsOf('free');
    const bounded = new TiersService(
      new Map([
        ['free', free],
        ['closed', { ...free, network: 'none' }],
        ['listed', { ...free, network: { allow: ['10.0.0.0/8:443'] } }],
      ]),
    );
    const asked = ['internet', 'none', undefined] as const;
    expect(asked.map((network) => bounded.networkOf('free', network))).toEqual(['internet', 'none', 'internet']);
    expect(asked.slice(1).map((network) => bounded.networkOf('closed', network))).toEqual(['none', 'none']);
    expect(() => bounded.networkOf('closed', 'internet')).toThrow(DomainError);
    expect(bounded.networkOf('listed', undefined)).toEqual({ allow: ['10.0.0.0/8:443'] });
    expect(bounded.networkOf('listed', { allow: ['10.1.2.3:443/tcp'] })).toEqual({ allow: ['10.1.2.3/32:443'] });
    expect(bounded.networkOf('free', { allow: ['10.1.2.3:80'] })).toEqual({ allow: ['10.1.2.3/32:80'] });
    expect(() => bounded.networkOf('listed', { allow: ['10.1.2.3:80'] })).toThrow(DomainError);
    expect(() => bounded.networkOf('listed', 'internet')).toThrow(DomainError);
  });

  it('must end the session of a guest after 50 hours, and nobody else’s', () => {
    const now = new Date('2026-01-01T00:00:00.000Z');
    expect(tiers.sessionEnd('guest', now)).toEqual(new Date('2026-01-03T02:00:00.000Z'));
    expect(['free', 'pro', 'enterprise'].map((tier) => tiers.sessionEnd(tier, now))).toEqual([null, null, null]);
  });
});

import { freeSubnet, overlap, rangeOf, subnetSize } from './subnets';

describe('subnets for the sandboxes', () => {
  it.each([
    [1, 4],
    [5, 8],
    [6, 16],
    [900, 1024],
    [1000, 1024],
  ])('must have room for %d containers, gateway and broadcast in %d addresses', (containers, size) => {
    expect(subnetSize(containers)).toBe(size);
  });

  it.each<[string, readonly string[], readonly string[], string | null]>([
    ['the first of a pool', ['10.200.0.0/16'], [], '10.200.0.0/22'],
    ['the next that nobody has', ['10.200.0.0/16'], ['10.200.0.0/22', '10.200.4.0/30'], '10.200.8.0/22'],
    ['one of the next pool', ['10.200.0.0/22', '192.168.128.0/20'], ['10.200.0.0/16'], '192.168.128.0/22'],
    ['none where all is taken', ['10.200.0.0/22'], ['10.0.0.0/8'], null],
    ['the last there is', ['255.255.252.0/22'], [], '255.255.252.0/22'],
  ])('must be %s', (_which, pools, taken, expected) => {
    expect(freeSubnet(pools, { containers: 900, taken: taken.map(rangeOf) })).toBe(expected);
  });

  it('must know what overlaps', () => {
    expect(overlap(rangeOf('10.0.0.0/8'), rangeOf('10.255.255.255/32'))).toBe(true);
    expect(overlap(rangeOf('10.0.0.0/9'), rangeOf('10.128.0.0/9'))).toBe(false);
  });
});

import ipaddr from 'ipaddr.js';

/** An IPv4 network: its first address as a number, and how many there are. */
export interface Range {
  readonly first: number;
  readonly size: number;
}

/** The network's own address, its broadcast address, and the gateway. */
const NOT_FOR_CONTAINERS = 3;

/** @param cidr such as `10.0.0.0/8`. @throws Error for what is none */
export function rangeOf(cidr: string): Range {
  const [, prefix] = ipaddr.IPv4.parseCIDR(cidr);
  const [a = 0, b = 0, c = 0, d = 0] = ipaddr.IPv4.networkAddressFromCIDR(cidr).octets;
  return { first: ((a * 256 + b) * 256 + c) * 256 + d, size: 2 ** (32 - prefix) };
}

function cidrOf({ first, size }: Range): string {
  const octets = [24, 16, 8, 0].map((shift) => Math.floor(first / 2 ** shift) % 256);
  return `${octets.join('.')}/${String(32 - Math.log2(size))}`;
}

export function overlap(a: Range, b: Range): boolean {
  return a.first < b.first + b.size && b.first < a.first + a.size;
}

/** @returns how many addresses a subnet for so many containers has, a power of two */
export function subnetSize(containers: number): number {
  return 2 ** Math.ceil(Math.log2(containers + NOT_FOR_CONTAINERS));
}

/**
 * @param pools networks to take subnets from, the first with one left
 * @param taken what a subnet must not overlap
 * @returns the first free subnet for so many containers; null if there is none left
 */
export function freeSubnet(
  pools: readonly string[],
  { containers, taken }: { containers: number; taken: readonly Range[] },
): string | null {
  const size = subnetSize(containers);
  for (const pool of pools.map(rangeOf)) {
    for (let first = pool.first; first + size <= pool.first + pool.size; first += size) {
      const subnet = { first, size };
      if (!taken.some((range) => overlap(range, subnet))) return cidrOf(subnet);
    }
  }
  return null;
}

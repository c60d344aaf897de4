import type { NetworkInspectInfo } from 'dockerode';
import ipaddr from 'ipaddr.js';
import { networkInterfaces } from 'node:os';
import { type Config, ConfigError } from '../../config';
import { LABELS } from '../model/labels';

/** An IPv4 network: its first address as a number, and its number of addresses. */
interface Range {
  readonly first: number;
  readonly size: number;
}

/** Addresses that no container gets: the network's own, its broadcast address, and the gateway. */
const NOT_FOR_CONTAINERS = 3;

/** @param cidr such as `10.0.0.0/8`. @throws Error if it is not an IPv4 network */
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

/** @returns the number of addresses of a subnet for so many containers, a power of two */
export function subnetSize(containers: number): number {
  return 2 ** Math.ceil(Math.log2(containers + NOT_FOR_CONTAINERS));
}

/**
 * @param pools networks to take the subnet from, tried in this order
 * @param taken ranges that the subnet must not overlap
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

/**
 * Checks SANDBOX_SUBNETS: each must be large enough, and overlap neither a network of this machine nor one of
 * Docker's. Networks of Berths do no harm: a new subnet avoids them.
 *
 * @param networks all of Docker's
 * @throws ConfigError that lists every fault
 */
export function assertSubnetsFree(
  {
    SANDBOX_SUBNETS: pools,
    SANDBOX_NETWORK_SIZE: containers,
    DOCKER_HOST,
  }: Pick<Config, 'DOCKER_HOST' | 'SANDBOX_NETWORK_SIZE' | 'SANDBOX_SUBNETS'>,
  networks: readonly NetworkInspectInfo[],
): void {
  const isOurs = ({ Labels }: NetworkInspectInfo): boolean => Labels?.[LABELS.managed] === 'true';
  const ours = networks.filter(isOurs).flatMap(subnetsOf).map(rangeOf);
  const others = networks
    .filter((network) => !isOurs(network))
    .flatMap((network) => subnetsOf(network).map((cidr) => ({ cidr, whose: `Docker's network ${network.Name}` })));
  // A Docker that is not reached by a Unix socket is taken to be on another machine, whose interfaces are unknown.
  const here = DOCKER_HOST.startsWith('unix:') ? hostNetworks(ours) : [];
  const needed = subnetSize(containers);
  const faults: string[] = [];
  for (const pool of pools) {
    const range = rangeOf(pool);
    if (range.size < needed) {
      const prefix = `/${String(32 - Math.log2(needed))}`;
      faults.push(`${pool} is smaller than the ${prefix} that SANDBOX_NETWORK_SIZE=${String(containers)} needs`);
    }
    for (const { cidr, whose } of others.concat(here)) {
      if (overlap(range, rangeOf(cidr))) faults.push(`${pool} overlaps ${cidr} of ${whose}`);
    }
  }
  if (faults.length > 0) throw new ConfigError(`SANDBOX_SUBNETS:\n${faults.map((fault) => `  ${fault}`).join('\n')}`);
}

/** The IPv4 subnets of a network. */
export function subnetsOf({ IPAM }: NetworkInspectInfo): string[] {
  const subnets = (IPAM?.Config ?? []).map(({ Subnet }) => Subnet);
  return subnets.filter((subnet): subnet is string => subnet !== undefined && !subnet.includes(':'));
}

/** The IPv4 networks of this machine's interfaces, except those of Berth's bridges. */
function hostNetworks(ours: readonly Range[]): { cidr: string; whose: string }[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) =>
    addresses.flatMap(({ family, cidr }) => {
      if (family !== 'IPv4' || cidr === null || ours.some((range) => overlap(range, rangeOf(cidr)))) return [];
      return [{ cidr, whose: `this machine's interface ${name}` }];
    }),
  );
}

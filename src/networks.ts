import { BlockList, isIPv4, isIPv6 } from 'node:net';

/** Names for several networks at once. */
const NAMED: ReadonlyMap<string, readonly string[]> = new Map([
  ['loopback', ['127.0.0.0/8', '::1']],
  // RFC 1918, RFC 6598 (between providers and their customers), RFC 4193.
  ['private', ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7']],
]);

interface Network {
  readonly address: string;
  readonly prefix: number;
  readonly family: 'ipv4' | 'ipv6';
}

/** Addresses and networks as settings list them: `10.0.0.0/8`, `192.0.2.7`, `2001:db8::/32`, `loopback` and `private`. */
export class Networks {
  private readonly list = new BlockList();

  /** @throws Error for what is not {@link isNetwork} */
  constructor(networks: readonly string[]) {
    for (const { address, prefix, family } of networks.flatMap(parseAll)) this.list.addSubnet(address, prefix, family);
  }

  /** Whether one of them holds the address; false for what is none. IPv4 in IPv6's clothes (`::ffff:10.0.0.1`) is IPv4. */
  includes(address: string): boolean {
    if (isIPv4(address)) return this.list.check(address, 'ipv4');
    return isIPv6(address) && this.list.check(address, 'ipv6');
  }
}

/** Whether {@link Networks} knows what the text means. */
export function isNetwork(text: string): boolean {
  return NAMED.has(text) || parse(text) !== null;
}

/** Whether the text is an IPv4 address with a port: `192.0.2.7:3128`. */
export function isService(text: string): boolean {
  const [address = '', port = '', ...more] = text.split(':');
  return more.length === 0 && isIPv4(address) && /^[1-9][0-9]{0,4}$/.test(port) && Number(port) <= 65_535;
}

/**
 * The IPv4 networks among them in canonical form, with the bits behind the prefix cleared: `10.1.2.3/8` is `10.0.0.0/8`.
 *
 * @throws Error for what is not {@link isNetwork}
 */
export function ipv4Networks(networks: readonly string[]): string[] {
  const found = networks.flatMap(parseAll).filter(({ family }) => family === 'ipv4');
  return [...new Set(found.map(({ address, prefix }) => `${firstAddress(address, prefix)}/${String(prefix)}`))];
}

function firstAddress(address: string, prefix: number): string {
  const number = address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0);
  const size = 2 ** (32 - prefix);
  const first = Math.floor(number / size) * size;
  return [24, 16, 8, 0].map((shift) => Math.floor(first / 2 ** shift) % 256).join('.');
}

function parseAll(text: string): Network[] {
  return (NAMED.get(text) ?? [text]).map((each) => {
    const network = parse(each);
    if (!network) throw new Error(`${text} is no address and no network`);
    return network;
  });
}

function parse(text: string): Network | null {
  const [address = '', written, ...more] = text.split('/');
  const family = isIPv4(address) ? 'ipv4' : isIPv6(address) && !address.includes('%') ? 'ipv6' : null;
  if (!family || more.length > 0) return null;
  const longest = family === 'ipv4' ? 32 : 128;
  if (written === undefined) return { address, prefix: longest, family };
  const prefix = /^\d{1,3}$/.test(written) ? Number(written) : 0;
  // A network of everyone would believe what anyone writes.
  return prefix >= 1 && prefix <= longest ? { address, prefix, family } : null;
}

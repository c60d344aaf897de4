import { BlockList, isIPv4, isIPv6 } from 'node:net';

const LOOPBACK = ['127.0.0.0/8', '::1'];

interface Network {
  readonly address: string;
  readonly prefix: number;
  readonly family: 'ipv4' | 'ipv6';
}

/** Addresses and networks as settings list them: `10.0.0.0/8`, `192.0.2.7`, `2001:db8::/32`, and `loopback`. */
export class Networks {
  private readonly list = new BlockList();

  /** @throws Error for what is not {@link isNetwork} */
  constructor(networks: readonly string[]) {
    for (const text of networks.flatMap((each) => (each === 'loopback' ? LOOPBACK : [each]))) {
      const network = parse(text);
      if (!network) throw new Error(`${text} is no address and no network`);
      this.list.addSubnet(network.address, network.prefix, network.family);
    }
  }

  /** Whether one of them holds the address; false for what is none. IPv4 in IPv6's clothes (`::ffff:10.0.0.1`) is IPv4. */
  includes(address: string): boolean {
    if (isIPv4(address)) return this.list.check(address, 'ipv4');
    return isIPv6(address) && this.list.check(address, 'ipv6');
  }
}

/** Whether {@link Networks} knows what the text means. */
export function isNetwork(text: string): boolean {
  return text === 'loopback' || parse(text) !== null;
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

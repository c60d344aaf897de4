import { Inject, Injectable } from '@nestjs/common';
import ipaddr from 'ipaddr.js';
import { Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { type Config, CONFIG, Networks } from '../config';

/** Longest URL of a webhook, in characters. */
export const LONGEST_URL = 2048;

/** The global unicast addresses of IPv6 (RFC 4291); what is outside of them is special or not assigned. */
const GLOBAL_IPV6 = ipaddr.IPv6.parseCIDR('2000::/3');

/** Azure's metadata and DNS address, which every virtual machine there reaches, although it looks public. */
const METADATA = '168.63.129.16';

/** An address that a webhook must not reach. `message` contains no address, because users see it. */
export class AddressRefusedError extends Error {
  override readonly name = 'AddressRefusedError';

  constructor() {
    super('the address is not allowed');
  }
}

/**
 * Decides which addresses webhooks may reach: over `https:` every public address, and over both protocols the
 * addresses in `WEBHOOK_ALLOWED_NETWORKS`. Private, loopback, link-local, multicast and other special addresses are
 * refused, as are IPv6 forms of them and the addresses of this machine.
 */
@Injectable()
export class Destinations {
  private readonly allowed: Networks;
  private readonly hasAllowed: boolean;

  constructor(@Inject(CONFIG) { WEBHOOK_ALLOWED_NETWORKS: allowed }: Pick<Config, 'WEBHOOK_ALLOWED_NETWORKS'>) {
    this.allowed = new Networks(allowed);
    this.hasAllowed = allowed.length > 0;
  }

  /** @param protocol `https:` or `http:` */
  permits(address: string, protocol: string): boolean {
    // A zone (`%eth0`) exists only for addresses that are not public.
    if (isIP(address) === 0 || address.includes('%')) return false;
    if (this.allowed.includes(address)) return true;
    return protocol === 'https:' && isPublic(address);
  }

  /**
   * @returns what is wrong with a URL, as far as its text shows; null if nothing is. A name is resolved, and its
   *   addresses are checked, at each connection
   */
  faultOf(text: string): string | null {
    const url = URL.canParse(text) ? new URL(text) : null;
    if (text.length > LONGEST_URL || !url || !['https:', 'http:'].includes(url.protocol)) {
      return `must be an https URL of at most ${String(LONGEST_URL)} characters`;
    }
    if (url.username !== '' || url.password !== '') return 'must not contain a user name or a password';
    if (url.hash !== '') return 'must not contain a fragment';
    if (url.protocol === 'http:' && !this.hasAllowed) return 'must start with https:';
    const address = literalOf(url.hostname);
    if (address !== null && !this.permits(address, url.protocol)) return 'must not point to this address';
    return null;
  }
}

/** @returns the address if a URL's host is one, else null */
export function literalOf(hostname: string): string | null {
  const address = hostname.replace(/^\[(.*)\]$/, '$1');
  return isIP(address) === 0 ? null : address;
}

function isPublic(text: string): boolean {
  // Treats an IPv4-mapped address as the IPv4 address that it leads to.
  const address = ipaddr.process(text);
  if (address.range() !== 'unicast' || address.toString() === METADATA) return false;
  if (address instanceof ipaddr.IPv6 && !address.match(GLOBAL_IPV6)) return false;
  return !isOwn(address.toString());
}

/** True for the addresses of this machine: services that listen there may expect only local clients. */
function isOwn(address: string): boolean {
  const own = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return own.some((each) => ipaddr.isValid(each.address) && ipaddr.process(each.address).toString() === address);
}

const RESOLVE_WITHIN_MS = 2_000;
const LOCALHOST = ['127.0.0.1', '::1'];

/**
 * Resolves the names of receivers by DNS. `dns.lookup` would take one of the few threads that files and encryption
 * use too, so a slow name server of one receiver would delay the whole process. `/etc/hosts` and search domains are
 * not used.
 */
@Injectable()
export class NameResolver {
  private readonly resolver = new Resolver({ timeout: RESOLVE_WITHIN_MS, tries: 2 });

  /** @returns the addresses of a name, IPv4 first. @throws the resolver's error if there are none */
  async resolve(name: string): Promise<string[]> {
    if (name.toLowerCase().replace(/\.$/, '') === 'localhost') return LOCALHOST;
    const answers = await Promise.allSettled([this.resolver.resolve4(name), this.resolver.resolve6(name)]);
    const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    if (found.length > 0) return found;
    throw answers[0].status === 'rejected' ? answers[0].reason : new Error('the name has no address');
  }
}

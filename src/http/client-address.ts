import proxyAddress from '@fastify/proxy-addr';
import { normalizeIP } from '@fastify/rate-limit';
import type { IncomingMessage } from 'node:http';
import { Networks } from '../config';

/** What is known of a connection, and what its request says of those before it. */
type Forwarded = Pick<IncomingMessage, 'headers'> & {
  readonly socket: { readonly remoteAddress?: string | undefined };
};

/** Who a request comes from: its connection's other end, or what the outermost trusted proxy saw. */
export class ClientAddress {
  private readonly trusted: Networks;

  constructor(trustedProxies: readonly string[]) {
    this.trusted = new Networks(trustedProxies);
  }

  /** Whether this is the address of a proxy whose `X-Forwarded-For` is believed. */
  readonly trusts = (address: string | undefined): boolean => address !== undefined && this.trusted.includes(address);

  /** The same as Fastify's `request.ip`, for requests that Fastify does not see. Empty if the connection is gone. */
  of(request: Forwarded): string {
    const address = proxyAddress(request as IncomingMessage, this.trusts) as string | undefined;
    return address ?? '';
  }
}

/** Longer than any address; what a proxy passes on need not be one. */
const LONGEST_ADDRESS = 64;

/**
 * What an address is counted by: an IPv6 network of 64 bits is one caller, as anyone who has one has all its addresses.
 */
export function addressKey(address: string | undefined): string {
  return address === undefined || address === '' ? 'unknown' : normalizeIP(address.slice(0, LONGEST_ADDRESS));
}

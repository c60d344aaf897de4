import proxyAddress from '@fastify/proxy-addr';
import { normalizeIP } from '@fastify/rate-limit';
import type { IncomingMessage } from 'node:http';
import { Networks } from '../config';

/** A connection's peer address, and the request headers in which proxies name the client. */
type Forwarded = Pick<IncomingMessage, 'headers'> & {
  readonly socket: { readonly remoteAddress?: string | undefined };
};

/** The client's address of a request: the connection's peer, or the address that the outermost trusted proxy saw. */
export class ClientAddress {
  private readonly trusted: Networks;

  constructor(trustedProxies: readonly string[]) {
    this.trusted = new Networks(trustedProxies);
  }

  /** True if this is the address of a proxy whose `X-Forwarded-For` is believed. */
  readonly trusts = (address: string | undefined): boolean => address !== undefined && this.trusted.includes(address);

  /** The same as Fastify's `request.ip`, for requests that Fastify does not see. Empty if the connection is gone. */
  of(request: Forwarded): string {
    const address = proxyAddress(request as IncomingMessage, this.trusts) as string | undefined;
    return address ?? '';
  }
}

/** Longer than any address. A proxy may forward text that is not an address. */
const LONGEST_ADDRESS = 64;

/**
 * The key under which a client's address is counted. An IPv6 /64 network counts as one caller, since its owner can
 * use each of its addresses.
 */
export function addressKey(address: string | undefined): string {
  return address === undefined || address === '' ? 'unknown' : normalizeIP(address.slice(0, LONGEST_ADDRESS));
}

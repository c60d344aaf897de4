import type { IncomingMessage } from 'node:http';
import { Networks } from '../config';

/** What is known of a connection, and what its request says of those before it. */
type Forwarded = Pick<IncomingMessage, 'headers'> & {
  readonly socket: { readonly remoteAddress?: string | undefined };
};

/**
 * Who a request comes from: its connection's other end, or behind proxies that are trusted the address that the outermost
 * of them saw. Whatever stands further to the left in `X-Forwarded-For` the client may have written itself.
 */
export class ClientAddress {
  private readonly trusted: Networks;

  constructor(trustedProxies: readonly string[]) {
    this.trusted = new Networks(trustedProxies);
  }

  /** Whether this is the address of a proxy whose `X-Forwarded-For` is believed. */
  trusts(address: string): boolean {
    return this.trusted.includes(address);
  }

  /** The same as Fastify's `request.ip`, for requests that Fastify does not see. Empty if the connection is gone. */
  of({ socket, headers }: Forwarded): string {
    const forwarded = [headers['x-forwarded-for'] ?? []].flat().join(',').split(',');
    let address = socket.remoteAddress ?? '';
    while (this.trusts(address)) {
      const before = forwarded.pop()?.trim();
      if (before === undefined || before === '') return address;
      address = before;
    }
    return address;
  }
}

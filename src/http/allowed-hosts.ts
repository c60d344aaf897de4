import { Inject, Injectable } from '@nestjs/common';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { type Config, CONFIG, Networks } from '../config';
import { DomainError } from '../errors';
import { pathOf, timesIn } from './request-head';

/** What probes ask for, by whatever name they know the server. */
const PROBES = '/health/';

const LOOPBACK = new Networks(['loopback']);

type HostSettings = Pick<Config, 'HOST' | 'ALLOWED_HOSTS'>;

/**
 * Whether requests are served by any name: where the server listens beyond loopback, and its operator has not said what
 * its names are.
 */
export function acceptsAnyHost({ HOST, ALLOWED_HOSTS }: HostSettings): boolean {
  return ALLOWED_HOSTS.length === 0 && HOST !== 'localhost' && !LOOPBACK.includes(HOST);
}

/**
 * By which names the server is asked. A web page can point a name of its own at any address (DNS rebinding), this
 * machine's included, and the browser then lets it talk to the server as to its own. It cannot do so with an IP
 * address, nor with `localhost` and the names below it, which browsers resolve themselves.
 */
@Injectable()
export class AllowedHosts {
  private readonly acceptsAny: boolean;
  private readonly names: ReadonlySet<string>;
  /** Each with the dot before it. */
  private readonly domains: readonly string[];

  constructor(@Inject(CONFIG) config: HostSettings) {
    this.acceptsAny = acceptsAnyHost(config);
    const hosts = config.ALLOWED_HOSTS.map((host) => host.toLowerCase());
    this.names = new Set(['localhost', ...hosts.filter((host) => !host.startsWith('*.'))]);
    this.domains = ['.localhost', ...hosts.filter((host) => host.startsWith('*.')).map((host) => host.slice(1))];
  }

  /** Refuses a request by a name that is not the server's: in its `Host`, or in a target that has a host too. */
  fault(request: IncomingMessage): DomainError | null {
    // Several are refused as such.
    if (this.acceptsAny || timesIn(request.rawHeaders, 'host') > 1) return null;
    const { url = '', headers } = request;
    const target = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(url)?.[1];
    const isAllowed = this.allows(headers.host) && this.allows(target);
    return isAllowed || pathOf(request).startsWith(PROBES) ? null : new DomainError('misdirected_request');
  }

  /** @param authority a host with or without a port; none, or an empty one, is of no browser's request */
  private allows(authority: string | undefined): boolean {
    if (authority === undefined || authority === '') return true;
    const [, bracketed, plain = ''] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(authority) ?? [];
    if (bracketed !== undefined) return isIP(bracketed) === 6;
    const name = plain.toLowerCase().replace(/\.$/, '');
    return isIP(name) === 4 || this.names.has(name) || this.domains.some((domain) => name.endsWith(domain));
  }
}

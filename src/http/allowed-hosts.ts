import { Inject, Injectable } from '@nestjs/common';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { type Config, CONFIG, Networks } from '../config';
import { DomainError } from '../errors';
import { pathOf, timesIn } from './request-head';

/** Paths of the health probes, which may be requested by any host name. */
const PROBES = '/health/';

const LOOPBACK = new Networks(['loopback']);

type HostSettings = Pick<Config, 'HOST' | 'ALLOWED_HOSTS'>;
type Settings = HostSettings & Pick<Config, 'CORS_ORIGINS'>;

/** True if requests are served under any host name: the server listens beyond loopback and `ALLOWED_HOSTS` is empty. */
export function acceptsAnyHost({ HOST, ALLOWED_HOSTS }: HostSettings): boolean {
  return ALLOWED_HOSTS.length === 0 && HOST !== 'localhost' && !LOOPBACK.includes(HOST);
}

/**
 * The host names under which the server may be requested. A web page can point a name of its own at any address (DNS
 * rebinding), also at this machine's, and the browser then treats the server as the page's own origin. This is
 * impossible with an IP address, and with `localhost` and the names below it, which browsers resolve themselves.
 */
@Injectable()
export class AllowedHosts {
  private readonly acceptsAny: boolean;
  private readonly origins: ReadonlySet<string>;
  private readonly names: ReadonlySet<string>;
  /** Wildcard domains, each with its leading dot. */
  private readonly domains: readonly string[];

  constructor(@Inject(CONFIG) config: Settings) {
    this.origins = new Set(config.CORS_ORIGINS);
    this.acceptsAny = acceptsAnyHost(config);
    const hosts = config.ALLOWED_HOSTS.map((host) => host.toLowerCase());
    this.names = new Set(['localhost', ...hosts.filter((host) => !host.startsWith('*.'))]);
    this.domains = ['.localhost', ...hosts.filter((host) => host.startsWith('*.')).map((host) => host.slice(1))];
  }

  /** Returns the error for a request under a foreign host name, either in `Host` or in an absolute request target. */
  fault(request: IncomingMessage): DomainError | null {
    // `headFault` refuses repeated `Host` fields.
    if (this.acceptsAny || timesIn(request.rawHeaders, 'host') > 1) return null;
    const { url = '', headers } = request;
    const target = url.startsWith('/') ? undefined : /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(url)?.[1];
    const isAllowed = this.allows(headers.host) && this.allows(target);
    return isAllowed || pathOf(request).startsWith(PROBES) ? null : new DomainError('misdirected_request');
  }

  /**
   * Returns the error for a request of a web page under a foreign host name; programs send no `Origin`. Pages that
   * `CORS_ORIGINS` lists are no different from the server's own.
   */
  originFault({ headers: { origin } }: Pick<IncomingMessage, 'headers'>): DomainError | null {
    if (this.acceptsAny || origin === undefined || this.origins.has('*') || this.origins.has(origin)) return null;
    const [, host] = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]+)$/i.exec(origin) ?? [];
    return host !== undefined && this.allows(host) ? null : new DomainError('misdirected_request');
  }

  /** @param authority a host with or without a port; absent or empty is allowed, since no browser sends that */
  private allows(authority: string | undefined): boolean {
    if (authority === undefined || authority === '') return true;
    const [, bracketed, plain = ''] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(authority) ?? [];
    if (bracketed !== undefined) return isIP(bracketed) === 6;
    const name = plain.toLowerCase().replace(/\.$/, '');
    return isIP(name) === 4 || this.names.has(name) || this.domains.some((domain) => name.endsWith(domain));
  }
}

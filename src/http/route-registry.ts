import { Injectable } from '@nestjs/common';
import { FastifyInstance } from 'fastify';

interface RegisteredRoute {
  readonly method: string;
  /** The pattern, such as `/api/tokens/:id`. */
  readonly url: string;
  /** The media types of its body, separated by commas; undefined if it takes none. */
  readonly accepts: string | undefined;
}

/** All routes as the router knows them. Tests enumerate them, so that no route goes untested. */
@Injectable()
export class RouteRegistry {
  private readonly registered: RegisteredRoute[] = [];
  private readonly patterns = new Map<string, RegExp>();

  /** Call it before any route is added. */
  watch(fastify: FastifyInstance): void {
    fastify.addHook('onRoute', ({ method, url, config }) => {
      for (const each of [method].flat()) this.registered.push({ method: each, url, accepts: config?.accepts });
      this.patterns.set(url, patternOf(url));
    });
  }

  /**
   * Describes a path by headers: `Allow` and, if it has a PATCH, `Accept-Patch` (RFC 5789, 3.1). The wildcard OPTIONS
   * route for preflights does not count.
   *
   * @returns null if the path has no route
   */
  describe(path: string): Readonly<Record<string, string>> | null {
    const here = this.registered.filter(
      ({ method, url }) => method !== 'OPTIONS' && this.patterns.get(url)?.test(path),
    );
    if (here.length === 0) return null;
    const allow = [...new Set(here.map(({ method }) => method))].join(', ');
    const patch = here.find(({ method }) => method === 'PATCH')?.accepts;
    return patch === undefined ? { allow } : { allow, 'accept-patch': patch };
  }

  get routes(): readonly RegisteredRoute[] {
    return this.registered;
  }
}

/** Matches as the router does: `:id` is one non-empty segment, `*` is the rest. */
function patternOf(url: string): RegExp {
  const escaped = url.replace(/[.+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${escaped.replace(/:[^/]+/g, '[^/]+').replace('*', '.*')}$`);
}

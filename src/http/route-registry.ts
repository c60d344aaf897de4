import { Injectable } from '@nestjs/common';
import { FastifyInstance } from 'fastify';

interface RegisteredRoute {
  readonly method: string;
  /** The pattern, such as `/api/tokens/:id`. */
  readonly url: string;
}

/** All routes as the router knows them. Tests enumerate them, so that no route goes untested. */
@Injectable()
export class RouteRegistry {
  private readonly registered: RegisteredRoute[] = [];
  private readonly patterns = new Map<string, RegExp>();

  /** Call it before any route is added. */
  watch(fastify: FastifyInstance): void {
    fastify.addHook('onRoute', ({ method, url }) => {
      for (const each of [method].flat()) this.registered.push({ method: each, url });
      this.patterns.set(url, patternOf(url));
    });
  }

  /**
   * @returns the methods of the path's routes, none if the path has no route. The wildcard OPTIONS route for
   *   preflights does not count
   */
  methodsAt(path: string): string[] {
    const fitting = this.registered.filter(
      ({ method, url }) => method !== 'OPTIONS' && this.patterns.get(url)?.test(path),
    );
    return [...new Set(fitting.map(({ method }) => method))];
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

import { Injectable } from '@nestjs/common';
import { FastifyInstance } from 'fastify';

export interface RegisteredRoute {
  readonly method: string;
  /** The pattern, such as `/api/tokens/:id`. */
  readonly url: string;
}

/**
 * Every route that the server answers, as the router knows it: what a test enumerates, so that no route goes untested.
 */
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
   * @returns the methods of the path's routes; none where the path has no route. Preflights, which have any path, are
   *   no route
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

/** As the router reads it: `:id` is one segment that is not empty, `*` is whatever is left. */
function patternOf(url: string): RegExp {
  const escaped = url.replace(/[.+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${escaped.replace(/:[^/]+/g, '[^/]+').replace('*', '.*')}$`);
}

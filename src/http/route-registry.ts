import { Injectable } from '@nestjs/common';
import { FastifyInstance } from 'fastify';

export interface RegisteredRoute {
  readonly method: string;
  /** The pattern, such as `/api/tokens/:id`. */
  readonly url: string;
}

/** Every route that the server answers, as the router knows it: what a test enumerates, so that no route goes untested. */
@Injectable()
export class RouteRegistry {
  private readonly registered: RegisteredRoute[] = [];

  /** Call it before any route is added. */
  watch(fastify: FastifyInstance): void {
    fastify.addHook('onRoute', ({ method, url }) => {
      for (const each of [method].flat()) this.registered.push({ method: each, url });
    });
  }

  get routes(): readonly RegisteredRoute[] {
    return this.registered;
  }
}

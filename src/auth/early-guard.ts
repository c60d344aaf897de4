import { RequestMethod, type Type } from '@nestjs/common';
import { METHOD_METADATA } from '@nestjs/common/constants';
import { MetadataScanner, ModulesContainer } from '@nestjs/core';
import { ExecutionContextHost } from '@nestjs/core/helpers/execution-context-host';
import { type NestFastifyApplication, RouteConfig } from '@nestjs/platform-fastify';
import { FASTIFY_ROUTE_CONFIG_METADATA } from '@nestjs/platform-fastify/constants';
import type { FastifyContextConfig } from 'fastify';
import { AuthGuard } from './auth.guard';

/** What the guard decides by. */
interface GuardedRoute {
  readonly controller: Type;
  readonly handler: (...args: readonly unknown[]) => unknown;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    guarded?: GuardedRoute;
  }
}

/**
 * Has the guard decide on a request's head, before its body is read. Nest would ask it once there is a body, so that
 * anyone could have bodies received, and learn of their faults. Where Nest asks it too, it has decided.
 *
 * Call it behind what counts requests, and before `init()` or `listen()`.
 */
export function guardBeforeBodies(app: NestFastifyApplication): void {
  declareRoutes(app.get(ModulesContainer));
  const guard = app.get(AuthGuard);
  app
    .getHttpAdapter()
    .getInstance()
    .addHook('onRequest', (request, reply, done) => {
      const { guarded } = request.routeOptions.config;
      if (!guarded) {
        done();
        return;
      }
      const context = new ExecutionContextHost([request, reply], guarded.controller, guarded.handler);
      guard.canActivate(context).then(() => done(), done);
    });
}

/** Tells each route which controller and handler it leads to. */
function declareRoutes(modules: ModulesContainer): void {
  const scanner = new MetadataScanner();
  const declared = new Set<unknown>();
  for (const { controllers } of modules.values()) {
    for (const { metatype } of controllers.values()) {
      const controller = metatype as Type;
      const prototype = controller.prototype as Record<string, GuardedRoute['handler'] | undefined>;
      for (const name of scanner.getAllMethodNames(prototype)) {
        const handler = prototype[name];
        if (!handler || !(Reflect.getMetadata(METHOD_METADATA, handler) in RequestMethod)) continue;
        // A route's options are the handler's, so that its controllers could not be told apart.
        if (declared.has(handler)) throw new Error(`${controller.name}.${name} is a route of two controllers`);
        declared.add(handler);
        const known = Reflect.getMetadata(FASTIFY_ROUTE_CONFIG_METADATA, handler) as FastifyContextConfig | undefined;
        RouteConfig({ ...known, guarded: { controller, handler } })(prototype, name, { value: handler });
      }
    }
  }
}

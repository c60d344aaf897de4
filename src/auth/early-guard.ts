import { RequestMethod, type Type } from '@nestjs/common';
import { METHOD_METADATA } from '@nestjs/common/constants';
import { MetadataScanner, ModulesContainer } from '@nestjs/core';
import { ExecutionContextHost } from '@nestjs/core/helpers/execution-context-host';
import { type NestFastifyApplication, RouteConfig } from '@nestjs/platform-fastify';
import { FASTIFY_ROUTE_CONFIG_METADATA } from '@nestjs/platform-fastify/constants';
import type { FastifyContextConfig } from 'fastify';
import { AuthGuard } from './auth.guard';

/** The guard's input for a route. */
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
 * Runs the guard on a request's head, before its body is read. Nest would run it after the body, so that callers
 * without a token could make the server receive bodies, and learn of their faults. When Nest runs it again, the guard
 * remembers its decision.
 *
 * Call it after the hooks that count requests, and before `init()` or `listen()`.
 */
export function guardBeforeBodies(app: NestFastifyApplication): void {
  declareRoutes(app.get(ModulesContainer));
  const guard = app.get(AuthGuard);
  app
    .getHttpAdapter()
    .getInstance()
    .addHook('onRequest', (request, reply, done) => {
      const guarded = request.route?.guarded;
      if (!guarded) {
        done();
        return;
      }
      const context = new ExecutionContextHost([request, reply], guarded.controller, guarded.handler);
      const admission = guard.canActivate(context);
      if (admission === true) done();
      else admission.then(() => done(), done);
    });
}

/** Stores each route's controller and handler in its options. */
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
        // Options belong to the handler, so its controllers could not be told apart.
        if (declared.has(handler)) throw new Error(`${controller.name}.${name} is a route of two controllers`);
        declared.add(handler);
        const known = Reflect.getMetadata(FASTIFY_ROUTE_CONFIG_METADATA, handler) as FastifyContextConfig | undefined;
        RouteConfig({ ...known, guarded: { controller, handler } })(prototype, name, { value: handler });
      }
    }
  }
}

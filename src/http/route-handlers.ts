import { RequestMethod, type Type } from '@nestjs/common';
import { METHOD_METADATA, ROUTE_ARGS_METADATA } from '@nestjs/common/constants';
import type { RouteParamtypes } from '@nestjs/common/enums/route-paramtypes.enum';
import { MetadataScanner, type ModulesContainer } from '@nestjs/core';

/** A controller's method that handles a route. */
interface RouteHandler {
  readonly controller: Type;
  readonly name: string;
  readonly handler: (...args: readonly unknown[]) => unknown;
}

/** The handlers of all routes, of the controllers that Nest knows. */
export function* routeHandlers(modules: ModulesContainer): Generator<RouteHandler> {
  const scanner = new MetadataScanner();
  for (const { controllers } of modules.values()) {
    for (const { metatype } of controllers.values()) {
      const controller = metatype as Type;
      const prototype = controller.prototype as Record<string, RouteHandler['handler'] | undefined>;
      for (const name of scanner.getAllMethodNames(prototype)) {
        const handler = prototype[name];
        const isRoute = handler && Reflect.getMetadata(METHOD_METADATA, handler) in RequestMethod;
        if (isRoute) yield { controller, name, handler };
      }
    }
  }
}

/** The indices of a handler's parameters of one kind, such as those with `@Body()`. */
export function parametersOf(controller: Type, name: string, kind: RouteParamtypes): number[] {
  const parameters = (Reflect.getMetadata(ROUTE_ARGS_METADATA, controller, name) ?? {}) as Record<
    string,
    { readonly index: number }
  >;
  const own = Object.entries(parameters).filter(([key]) => key.startsWith(`${String(kind)}:`));
  return own.map(([, { index }]) => index);
}

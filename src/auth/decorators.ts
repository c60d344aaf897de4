import { applyDecorators, createParamDecorator, CustomDecorator, ExecutionContext, SetMetadata } from '@nestjs/common';
import { ApiSecurity } from '@nestjs/swagger';
import { FastifyRequest } from 'fastify';
import { Principal, RouteScope } from './principal';

/** Injects the caller into a handler whose route requires a scope. */
export const CurrentPrincipal = createParamDecorator((_data: unknown, context: ExecutionContext): Principal => {
  const { principal } = context.switchToHttp().getRequest<FastifyRequest>();
  if (!principal) throw new Error('@CurrentPrincipal() on a route that the guard lets anyone through');
  return principal;
});

export const PUBLIC = 'berth:public';

/** Opens a route, or all routes of a controller, to callers without a token. */
export const Public = (): CustomDecorator => SetMetadata(PUBLIC, true);

export const CONTAINER_TOKENS = 'berth:container-tokens';

/**
 * Opens a route, or all routes of a controller, also to tokens for one container: it is about that container alone, or
 * shows nothing else to such a token. Without it, such tokens are refused.
 */
export const ForContainerTokens = (): CustomDecorator => SetMetadata(CONTAINER_TOKENS, true);

export const REQUIRED_SCOPES = 'berth:scopes';

/** Opens a route, or all routes of a controller, to tokens that hold all of these scopes. */
export const Scopes = (...scopes: readonly [RouteScope, ...RouteScope[]]): ClassDecorator & MethodDecorator =>
  applyDecorators(SetMetadata(REQUIRED_SCOPES, scopes), ApiSecurity('bearer', [...scopes]));

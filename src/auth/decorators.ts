import {
  applyDecorators,
  createParamDecorator,
  CustomDecorator,
  ExecutionContext,
  SetMetadata,
  UseInterceptors,
} from '@nestjs/common';
import { ApiBearerAuth } from '@nestjs/swagger';
import { FastifyRequest } from 'fastify';
import { AuditedInterceptor } from './audited-calls';
import { Principal, RouteScope } from './principal';

export const AUDITED = 'berth:audited';

/** What is done to what, such as `container.start`. */
export type AuditAction = `${string}.${string}`;

/**
 * Has each call of the route written down before it does anything, and its outcome afterwards. Every route that writes
 * has one.
 */
export const Audited = (action: AuditAction): MethodDecorator =>
  applyDecorators(SetMetadata(AUDITED, action), UseInterceptors(AuditedInterceptor));

/** The caller, as a parameter of a route that asks for a scope. */
export const CurrentPrincipal = createParamDecorator((_data: unknown, context: ExecutionContext): Principal => {
  const { principal } = context.switchToHttp().getRequest<FastifyRequest>();
  if (!principal) throw new Error('@CurrentPrincipal() on a route that the guard lets anyone through');
  return principal;
});

export const PUBLIC = 'berth:public';

/** Opens a route, or all of a controller's routes, to callers without a token. */
export const Public = (): CustomDecorator => SetMetadata(PUBLIC, true);

export const REQUIRED_SCOPES = 'berth:scopes';

/** Opens a route, or all of a controller's routes, to tokens that hold every one of these scopes. */
export const Scopes = (...scopes: readonly [RouteScope, ...RouteScope[]]): ClassDecorator & MethodDecorator =>
  applyDecorators(SetMetadata(REQUIRED_SCOPES, scopes), ApiBearerAuth());

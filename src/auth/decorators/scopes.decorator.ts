import { applyDecorators, SetMetadata } from '@nestjs/common';
import { ApiBearerAuth } from '@nestjs/swagger';
import { RouteScope } from '../principal';

export const REQUIRED_SCOPES = 'berth:scopes';

/** Opens a route, or all of a controller's routes, to tokens that hold every one of these scopes. */
export const Scopes = (...scopes: readonly [RouteScope, ...RouteScope[]]): ClassDecorator & MethodDecorator =>
  applyDecorators(SetMetadata(REQUIRED_SCOPES, scopes), ApiBearerAuth());

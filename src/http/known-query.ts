import { type CanActivate, type ExecutionContext } from '@nestjs/common';
import { RouteParamtypes } from '@nestjs/common/enums/route-paramtypes.enum';
import type { FastifyRequest } from 'fastify';
import { type FieldFault, invalidParameters } from '../errors';
import { parametersOf } from './route-handlers';

/** Maximum faults reported. */
const MOST = 50;
const LONGEST_NAME = 100;

/**
 * Refuses query parameters on handlers without a `@Query()`, since a client expects an effect from a parameter that
 * it sends. On handlers with one, validation refuses parameters that its class does not declare. Runs after the token
 * guard, so that access is checked first.
 */
export class KnownQuery implements CanActivate {
  private readonly takers = new WeakMap<object, boolean>();

  /** @throws DomainError `invalid_parameters` */
  canActivate(context: ExecutionContext): boolean {
    if (context.getType() !== 'http') return true;
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    if (request.raw.url?.includes('?') === true && !this.takesQuery(context)) refuseQuery(request);
    return true;
  }

  private takesQuery(context: ExecutionContext): boolean {
    const handler = context.getHandler();
    const known = this.takers.get(handler);
    if (known !== undefined) return known;
    const takes = parametersOf(context.getClass(), handler.name, RouteParamtypes.QUERY).length > 0;
    this.takers.set(handler, takes);
    return takes;
  }
}

/** @throws DomainError `invalid_parameters` that names each query parameter, if there is any */
export function refuseQuery({ query }: Pick<FastifyRequest, 'query'>): void {
  const names = Object.keys(query as object).slice(0, MOST);
  if (names.length === 0) return;
  throw invalidParameters(
    names.map((name): FieldFault => ({ field: name.slice(0, LONGEST_NAME), message: 'unknown field' })),
  );
}

import { type CallHandler, type ExecutionContext, type NestInterceptor, UseInterceptors } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { map, type Observable } from 'rxjs';

/** Returns the URL of the created resource. @param params the parameters of the request's path */
type Place<T> = (made: T, params: Readonly<Record<string, string>>) => string;

/** Sets `Location` on answers with 201 and 202. */
class LocationInterceptor<T> implements NestInterceptor<T, T> {
  constructor(private readonly place: Place<T>) {}

  intercept(context: ExecutionContext, next: CallHandler<T>): Observable<T> {
    const { params } = context.switchToHttp().getRequest<FastifyRequest>();
    const reply = context.switchToHttp().getResponse<FastifyReply>();
    return next.handle().pipe(
      map((made) => {
        if (reply.statusCode === 201 || reply.statusCode === 202) {
          void reply.header('location', this.place(made, params as Readonly<Record<string, string>>));
        }
        return made;
      }),
    );
  }
}

/** Adds `Location` to answers with 201 and 202 (RFC 9110, 10.2.2). The OpenAPI document declares it for each. */
export function Location<T>(place: Place<T>): MethodDecorator {
  return UseInterceptors(new LocationInterceptor<T>(place));
}

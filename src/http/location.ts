import { type CallHandler, type ExecutionContext, type NestInterceptor, UseInterceptors } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { map, type Observable } from 'rxjs';

/** Where what was made is found. @param params of the request's path */
type Place<T> = (made: T, params: Readonly<Record<string, string>>) => string;

/** Sets the header on answers that say that something was made, or is being made. */
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

/** Has answers of 201 and 202 say where it is that was made (RFC 9110, 10.2.2). The documents say so of each. */
export function Location<T>(place: Place<T>): MethodDecorator {
  return UseInterceptors(new LocationInterceptor<T>(place));
}

import { applyDecorators, createParamDecorator, ExecutionContext } from '@nestjs/common';
import { ApiHeader } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { invalidParameters } from '../../errors';

const NAME = 'Idempotency-Key';
const RULE = 'must be 1 to 255 visible ASCII characters';
const VALID = /^[!-~]{1,255}$/;

/** The request's `Idempotency-Key`; undefined if it has none. @throws DomainError `invalid_parameters` that names the header */
export const IdempotencyKey = createParamDecorator((_data: unknown, context: ExecutionContext): string | undefined => {
  const given = context.switchToHttp().getRequest<FastifyRequest>().headers[NAME.toLowerCase()];
  if (given === undefined) return undefined;
  if (typeof given !== 'string' || !VALID.test(given)) throw invalidParameters([{ field: NAME, message: RULE }]);
  return given;
});

/** Documents the header. */
export function ApiIdempotencyKey(): MethodDecorator {
  return applyDecorators(
    ApiHeader({
      name: NAME,
      required: false,
      description:
        'A key of your own for this request, such as a UUID. For 24 hours the same key with the same body gives the first ' +
        `answer again and creates nothing; with another body it is refused. It ${RULE}.`,
      schema: { type: 'string', minLength: 1, maxLength: 255, pattern: '^[!-~]+$' },
      example: '8c1f4f0e-5f0b-4a55-9a53-6d1c2b7e0d11',
    }),
  );
}

/** The header of an answer that was given before. */
export const REPLAYED = {
  name: 'Idempotency-Replayed',
  documentation: {
    'Idempotency-Replayed': {
      description: 'true: this is the answer to an earlier request with the same Idempotency-Key.',
      schema: { type: 'string' as const, enum: ['true'] },
    },
  },
};

import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DomainError } from '../errors';
import { evaluate } from './conditions';
import { ACCEPT_PATCHES } from './merge-patch';

/** The conditions of a request to a resource with an entity tag, and the tag in its answer. */
export interface TaggedRequest {
  /**
   * To be called where the change is exclusive, as no other change may follow the check.
   *
   * @param etag the current tag, a strong one
   * @throws DomainError `precondition_failed` if `If-Match` or `If-None-Match` does not hold
   */
  readonly assertConditions: (etag: string) => void;
  /** Adds `ETag` to the answer, and the `Accept-Patch` of a resource that takes merge patches. */
  readonly answerWith: (etag: string) => void;
}

/** Injects a {@link TaggedRequest}. */
export const Tagged = createParamDecorator((_data: unknown, context: ExecutionContext): TaggedRequest => {
  const http = context.switchToHttp();
  return {
    assertConditions: (etag) => {
      const { method, headers } = http.getRequest<FastifyRequest>();
      if (evaluate({ method, headers }, { etag, lastModified: null }) !== 'proceed') {
        throw new DomainError('precondition_failed');
      }
    },
    answerWith: (etag) => void http.getResponse<FastifyReply>().headers({ etag, 'accept-patch': ACCEPT_PATCHES }),
  };
});

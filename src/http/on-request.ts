import { FastifyReply, FastifyRequest } from 'fastify';
import { DomainError, errorAnswer } from '../errors';
import { requestContext } from '../logging';
import type { RequestContext } from '../logging';
import { Draining } from './draining';
import { securityHeaders } from './security-headers';

declare module 'fastify' {
  interface FastifyRequest {
    /** What the request's log lines carry. */
    logContext?: RequestContext;
  }
}

type Hook = (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => void;

/** The first hook of each request: names it, guards its answer, and turns it away while the server is draining. */
export function onRequest(draining: Draining): Hook {
  return (request, reply, done) => {
    reply.headers({ 'x-request-id': request.id, ...securityHeaders(request.routeOptions.url) });
    request.logContext = { requestId: request.id };
    // A process that drains is still alive, and says itself that it is not ready.
    if (draining.begun && !request.url.startsWith('/health/')) {
      const { status, headers, body } = errorAnswer(new DomainError('shutting_down'), request.id);
      void reply.status(status).headers(headers).header('connection', 'close').send(body);
      return;
    }
    requestContext.run(request.logContext, done);
  };
}

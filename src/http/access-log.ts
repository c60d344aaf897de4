import { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from '../logging';

/** What probes and collectors ask for every few seconds. */
const FREQUENT = /^\/(health\/|metrics$)/;

/** One line for each answered request: the route's pattern, not the URL, whose query may hold what is nobody's business. */
export function accessLog(logger: Logger): (request: FastifyRequest, reply: FastifyReply, done: () => void) => void {
  return (request, reply, done) => {
    const { url: route } = request.routeOptions;
    const level = reply.statusCode >= 500 ? 'warn' : FREQUENT.test(route ?? '') ? 'debug' : 'info';
    // The line is made only where it is written.
    if (!logger.isLevelEnabled(level)) {
      done();
      return;
    }
    logger[level](
      {
        method: request.method,
        ...(route === undefined || request.is404 ? { path: pathOf(request.url) } : { route }),
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime * 10) / 10,
        request_id: request.id,
        user_id: request.logContext?.userId,
        container_id: request.logContext?.containerId,
      },
      'request',
    );
    done();
  };
}

function pathOf(url: string): string {
  return (url.split('?', 1)[0] ?? '').slice(0, 200);
}

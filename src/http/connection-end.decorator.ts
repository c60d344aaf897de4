import { createParamDecorator, ExecutionContext } from '@nestjs/common';
import type { FastifyReply } from 'fastify';

/** Aborted when the connection has ended, so that nobody will read the answer any more. For handlers that take their time. */
export const ConnectionEnd = createParamDecorator((_data: unknown, context: ExecutionContext): AbortSignal => {
  const { raw } = context.switchToHttp().getResponse<FastifyReply>();
  const controller = new AbortController();
  if (raw.destroyed || raw.socket?.destroyed) controller.abort();
  else raw.once('close', () => controller.abort());
  return controller.signal;
});

import { RouteConfig } from '@nestjs/platform-fastify';
import type { FastifyInstance, onSendAsyncHookHandler, onSendHookHandler } from 'fastify';
import { codingFor, compressAnswer, varyByCoding } from './stored-file';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether the route's answers are compressed for clients that take that. */
    compressed?: boolean;
  }
}

/** Below this, compressing costs more than it saves. */
const WORTH_BYTES = 1_024;

/**
 * Of a route whose answers are large and hold no secret: a compressed answer tells by its length whether a text that
 * a client chose is like another one in it.
 */
export const Compressed = (): MethodDecorator => RouteConfig({ compressed: true });

/** The page of the documentation holds the whole OpenAPI document. */
const PAGES: readonly unknown[] = ['/api/docs', '/api/docs/swagger-ui-init.js'];

/** Compresses the answers of these routes alone. Call it before any route is added. */
export function compressAnswers(fastify: FastifyInstance): void {
  fastify.addHook('onRoute', (route) => {
    if (route.config?.compressed !== true && !PAGES.includes(route.url)) return;
    route.onSend = [compress as onSendHookHandler | onSendAsyncHookHandler].concat(route.onSend ?? []);
  });
}

const compress: onSendAsyncHookHandler = async (request, reply, payload) => {
  varyByCoding(reply);
  const body = typeof payload === 'string' ? Buffer.from(payload) : payload;
  if (!Buffer.isBuffer(body) || body.length < WORTH_BYTES || reply.statusCode !== 200) return payload;
  const coding = codingFor(request.headers['accept-encoding']);
  if (coding === null) return payload;
  const compressed = await compressAnswer(coding, body);
  reply.header('content-encoding', coding).removeHeader('content-length');
  return compressed;
};

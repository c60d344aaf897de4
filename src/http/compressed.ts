import { RouteConfig } from '@nestjs/platform-fastify';
import type { FastifyInstance, onSendAsyncHookHandler, onSendHookHandler } from 'fastify';
import { codingFor, compressAnswer, varyByCoding } from './stored-file';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether the route's answers are compressed for clients that accept it. */
    compressed?: boolean;
  }
}

/** Minimum size in bytes: compressing less costs more than it saves. */
const WORTH_BYTES = 1_024;

/**
 * Compresses a route's answers. Only for large answers without secrets: the length of a compressed answer reveals
 * whether text that a client chose resembles other text in it.
 */
export const Compressed = (): MethodDecorator => RouteConfig({ compressed: true });

/** Pages of the API documentation; they contain the whole OpenAPI document. */
const PAGES: readonly unknown[] = ['/api/docs', '/api/docs/swagger-ui-init.js'];

/**
 * Compresses the answers of routes with {@link Compressed} and of the documentation. Call it before any route is
 * added.
 */
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

import type { IncomingMessage } from 'node:http';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { Config } from '../config';
import { ClientAddress } from './client-address';
import { answerClientError } from './client-error';
import { answerFrameworkError } from './framework-error';
import { requestIdOf } from './request-id';

/** The largest body, in bytes. */
export const BODY_LIMIT = 65_536;

type Proxies = Pick<Config, 'TRUSTED_PROXIES'>;

/** Fastify as Berth uses it; shared by the server and the tests. */
export function createHttpAdapter({ TRUSTED_PROXIES: proxies }: Proxies = { TRUSTED_PROXIES: [] }): FastifyAdapter {
  const clients = new ClientAddress(proxies);
  return new FastifyAdapter({
    bodyLimit: BODY_LIMIT,
    // Told by a hook, as Node.js would answer with an empty body.
    http: { requireHostHeader: false },
    // Decides what `request.ip` is. Without proxies, no header can say anything about it.
    trustProxy: proxies.length > 0 && ((address: string) => clients.trusts(address)),
    // A request's head and body must be here within this time, whatever the speed at which they trickle in.
    requestTimeout: 30_000,
    genReqId: (request: IncomingMessage) => requestIdOf(request.headers),
    frameworkErrors: answerFrameworkError,
    clientErrorHandler: answerClientError,
    // Fastify's own answer while closing has another shape; the first hook of each request says it in ours.
    return503OnClosing: false,
    // No middleware anywhere: hooks do it faster.
    skipMiddie: true,
    // An id that is too long is not found, as any other; Fastify would say that the URI is.
    routerOptions: { maxParamLength: 16_384 },
  });
}

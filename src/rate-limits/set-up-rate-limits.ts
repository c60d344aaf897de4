import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { RateCounters } from './rate-counters';
import { RequestLimits } from './request-limits';

/**
 * Puts the limits before every route. Call it after `setUpHttp()`, whose hooks come first: a server that drains says so,
 * and preflights are answered. And before `init()` or `listen()`.
 */
export function setUpRateLimits(app: NestFastifyApplication): void {
  const counters = app.get(RateCounters);
  if (!counters.active) return;
  const fastify = app.getHttpAdapter().getInstance();
  const limits = app.get(RequestLimits);
  counters.attach(fastify);
  fastify.addHook('onRequest', (request, reply) => limits.admit(request, reply));
  fastify.addHook('onSend', (request, reply, _payload, done) => {
    const learning = limits.learn(request, reply);
    if (learning) learning.then(() => done(), done);
    else done();
  });
}

import type { NestFastifyApplication } from '@nestjs/platform-fastify';

/**
 * Has E2B's routes take a token from `X-API-KEY`, which its clients send, as if it were a bearer token: limits, guard
 * and audit then see no difference. Call it before the hooks that count requests.
 */
export function takeApiKeys(app: NestFastifyApplication): void {
  app
    .getHttpAdapter()
    .getInstance()
    .addHook('onRequest', (request, _reply, done) => {
      const key = request.headers['x-api-key'];
      if (request.route?.takesApiKey === true && typeof key === 'string') {
        request.headers.authorization = `Bearer ${key}`;
      }
      done();
    });
}

import { NestFastifyApplication } from '@nestjs/platform-fastify';

/** Lets the pages of these origins call the API; of none by default. `*`: of all. */
export function enableCors(app: NestFastifyApplication, origins: readonly string[]): void {
  if (origins.length === 0) return;
  app.enableCors({
    origin: origins.includes('*') ? '*' : [...origins],
    methods: ['GET', 'HEAD', 'POST', 'PATCH', 'PUT', 'DELETE'],
    allowedHeaders: ['authorization', 'content-type', 'idempotency-key', 'last-event-id', 'x-request-id'],
    exposedHeaders: [
      ...['x-request-id', 'idempotency-replayed', 'retry-after'],
      ...['ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset'],
    ],
    maxAge: 600,
    // The strict answer to an incomplete preflight is plain text.
    strictPreflight: false,
  });
}

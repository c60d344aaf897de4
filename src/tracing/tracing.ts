import { type Span, SpanStatusCode } from '@opentelemetry/api';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyRequest } from 'fastify';
import { hostname } from 'node:os';
import { type Config, CONFIG } from '../config';
import { EngineCalls } from '../engine';
import { beginRequest, noteCall } from './spans';

/** Routes that probes and collectors request every few seconds; they are not traced. */
const FREQUENT = /^\/(health\/|metrics$)/;

/**
 * Exports traces of requests, operations, their steps and calls to Docker to `OTEL_EXPORTER_OTLP_ENDPOINT`, if that
 * is set. Call it before `init()` or `listen()`.
 */
export async function setUpTracing(app: NestFastifyApplication): Promise<void> {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint } = app.get<Config>(CONFIG);
  if (endpoint === undefined) return;
  const { exportSpans } = await import('./export.js');
  const stop = exportSpans(endpoint, `${hostname()}:${String(process.pid)}`);
  app.get(EngineCalls).onEnded(({ call, ...ended }) => noteCall(`docker ${call}`, ended));
  const fastify = app.getHttpAdapter().getInstance();
  const spans = new WeakMap<FastifyRequest, Span>();
  fastify.addHook('onRequest', (request, _reply, done) => {
    const route = request.route?.url ?? 'unmatched';
    if (FREQUENT.test(route)) done();
    else
      spans.set(
        request,
        beginRequest({ 'http.request.method': request.method, 'http.route': route, request_id: request.id }, done),
      );
  });
  fastify.addHook('onResponse', (request, reply, done) => {
    const span = spans.get(request);
    span?.updateName(`${request.method} ${request.route?.url ?? 'unmatched'}`);
    span?.setAttributes({ 'http.response.status_code': reply.statusCode });
    if (reply.statusCode >= 500) span?.setStatus({ code: SpanStatusCode.ERROR });
    span?.end();
    done();
  });
  fastify.addHook('onClose', stop);
}

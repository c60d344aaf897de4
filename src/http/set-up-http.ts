import { FastifyAdapter, NestFastifyApplication } from '@nestjs/platform-fastify';
import { Config, CONFIG } from '../config';
import { LOGGER } from '../logging';
import type { Logger } from '../logging';
import { accessLog } from './access-log';
import { enableCors } from './cors';
import { Draining, endConnections } from './draining';
import { BODY_LIMIT } from './http-adapter';
import { jsonBodyParser } from './json-body';
import { onRequest } from './on-request';
import { setUpOpenApi } from './openapi';
import { refuseUntakenBodies } from './request-body';
import { passExpectations, refuseUnroutable } from './request-head';
import { RouteRegistry } from './route-registry';
import { refuseUnservedHandshake, Upgrades } from './upgrades';
import { createValidationPipe } from './validation-pipe';

/** Routes that probes and collectors know by their bare path. */
const OUTSIDE_API = ['health/live', 'health/ready', 'metrics'];

/** Gives the application its hooks, body parser, validation, prefix and documentation. Call it before `init()` or `listen()`. */
export function setUpHttp(app: NestFastifyApplication): void {
  const adapter = app.getHttpAdapter() as unknown as FastifyAdapter;
  const fastify = adapter.getInstance();
  app.get(RouteRegistry).watch(fastify);
  // The adapter's own places for hooks come before CORS, so that answers to preflights have the headers too.
  adapter.setOnRequestHook(onRequest(app.get(Draining)));
  adapter.setOnResponseHook(accessLog(app.get<Logger>(LOGGER)));
  app.get(Upgrades).watch(fastify.server);
  passExpectations(fastify.server);
  endConnections(fastify, app.get(Draining));
  // Behind all hooks that count requests, and before the body is read.
  fastify.addHook('preParsing', refuseUnservedHandshake);
  fastify.addHook('preParsing', refuseUnroutable(app.get(RouteRegistry)));
  refuseUntakenBodies(app, fastify);
  fastify.removeContentTypeParser('text/plain');
  fastify.removeContentTypeParser('application/json');
  adapter.useBodyParser('application/json', false, { bodyLimit: BODY_LIMIT }, jsonBodyParser);
  app.setGlobalPrefix('api', { exclude: OUTSIDE_API });
  app.useGlobalPipes(createValidationPipe());
  enableCors(app, app.get<Config>(CONFIG).CORS_ORIGINS);
  setUpOpenApi(app);
}

import { Global, Module } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { DomainErrorFilter } from '../errors';
import { Draining } from './draining';
import { RouteRegistry } from './route-registry';

/** What all of HTTP shares: the one filter, the state of draining, the routes. */
@Global()
@Module({
  providers: [Draining, RouteRegistry, { provide: APP_FILTER, useClass: DomainErrorFilter }],
  exports: [Draining, RouteRegistry],
})
export class HttpModule {}

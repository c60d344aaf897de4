import { Global, Module } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { type Config, CONFIG } from '../config';
import { DomainErrorFilter } from '../errors';
import { AllowedHosts } from './allowed-hosts';
import { ClientAddress } from './client-address';
import { Draining } from './http-setup';
import { Listeners } from './listeners';
import { RouteRegistry } from './route-registry';
import { AnswerStreams } from './server-sent-events';
import { Upgrades } from './upgrades';

/** Providers shared by all of HTTP: the exception filter, the draining state, the routes, event streams. */
@Global()
@Module({
  providers: [
    AllowedHosts,
    AnswerStreams,
    Draining,
    Listeners,
    RouteRegistry,
    Upgrades,
    {
      provide: ClientAddress,
      inject: [CONFIG],
      useFactory: ({ TRUSTED_PROXIES }: Config) => new ClientAddress(TRUSTED_PROXIES),
    },
    { provide: APP_FILTER, useClass: DomainErrorFilter },
  ],
  exports: [AllowedHosts, AnswerStreams, ClientAddress, Draining, Listeners, RouteRegistry, Upgrades],
})
export class HttpModule {}

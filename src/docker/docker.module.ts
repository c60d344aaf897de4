import { Module } from '@nestjs/common';
import { CONFIG } from '../config';
import type { Config } from '../config';
import { ContainerEngine } from './container-engine';
import { DockerEngine } from './docker-engine';
import { EngineCalls } from './engine-calls';
import { EngineIdentity } from './engine-identity';

/** Offers the one {@link ContainerEngine}. Whoever uses it first calls its `prepare()`. */
@Module({
  providers: [
    EngineCalls,
    EngineIdentity,
    {
      provide: ContainerEngine,
      inject: [CONFIG, EngineCalls],
      useFactory: (config: Config, calls: EngineCalls) => new DockerEngine(config, calls),
    },
  ],
  exports: [ContainerEngine, EngineCalls, EngineIdentity],
})
export class DockerModule {}

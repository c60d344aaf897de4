import { Module } from '@nestjs/common';
import { CONFIG, type Config } from '../config';
import { clusterEngine } from './cluster/cluster-settings';
import { ContainerEngine } from './container-engine';
import { EngineIdentity } from './engine-identity';
import { EngineCalls } from './daemon';
import { DockerEngine } from './docker-engine';

/** Provides the only {@link ContainerEngine}. Its first user calls `prepare()`. */
@Module({
  providers: [
    EngineCalls,
    EngineIdentity,
    {
      provide: ContainerEngine,
      inject: [CONFIG, EngineCalls],
      useFactory: (config: Config, calls: EngineCalls) =>
        clusterEngine(config, calls) ?? new DockerEngine(config, calls),
    },
  ],
  exports: [ContainerEngine, EngineCalls, EngineIdentity],
})
export class DockerModule {}

import { Module } from '@nestjs/common';
import { CONFIG } from '../config';
import type { Config } from '../config';
import { ContainerEngine } from './container-engine';
import { DockerEngine } from './docker-engine';

/** Offers the one {@link ContainerEngine}. Whoever uses it first calls its `prepare()`. */
@Module({
  providers: [{ provide: ContainerEngine, inject: [CONFIG], useFactory: (config: Config) => new DockerEngine(config) }],
  exports: [ContainerEngine],
})
export class DockerModule {}

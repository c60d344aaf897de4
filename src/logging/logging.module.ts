import { Global, Module } from '@nestjs/common';
import { type Config, CONFIG } from '../config';
import { createLogger, LOGGER } from './logger';

/** Provides the logger, by its token {@link LOGGER}. */
@Global()
@Module({
  providers: [{ provide: LOGGER, inject: [CONFIG], useFactory: (config: Config) => createLogger(config) }],
  exports: [LOGGER],
})
export class LoggingModule {}

import { Module } from '@nestjs/common';
import { type Config, CONFIG } from '../config';
import { loadSecrets } from './load-secrets';
import { Secrets } from './secrets';

/** Encryption of values that the database must not hold in plain text. */
@Module({
  providers: [{ provide: Secrets, inject: [CONFIG], useFactory: (config: Config) => loadSecrets(config) }],
  exports: [Secrets],
})
export class SecretsModule {}

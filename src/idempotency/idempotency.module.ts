import { Module } from '@nestjs/common';
import { AuthModule } from '../auth';
import { SecretsModule } from '../secrets';
import { IdempotencyKeys, IdempotencyRetention } from './idempotency-keys';
import { KeyedSecrets } from './keyed-requests';

/** Executes requests once, however often they are sent with the same `Idempotency-Key`. */
@Module({
  imports: [AuthModule, SecretsModule],
  providers: [IdempotencyKeys, IdempotencyRetention, KeyedSecrets],
  exports: [IdempotencyKeys, KeyedSecrets],
})
export class IdempotencyModule {}

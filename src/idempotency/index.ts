export { IdempotencyKeys, onceOnly, type OnceOnly, requestHash } from './idempotency-keys';
export { IdempotencyModule } from './idempotency.module';
export {
  ApiIdempotencyKey,
  Keyed,
  type KeyedRequest,
  KeyedSecrets,
  RefusesIdempotencyKey,
  REPLAYED_HEADER,
  type RequestKey,
} from './keyed-requests';

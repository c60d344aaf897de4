import {
  applyDecorators,
  type CanActivate,
  createParamDecorator,
  type ExecutionContext,
  Injectable,
  UseGuards,
} from '@nestjs/common';
import { ApiHeader } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Principal, TokenRequests } from '../auth';
import { Database } from '../database';
import { invalidParameters } from '../errors';
import { IdempotencyKeys, requestHash } from './idempotency-keys';

const NAME = 'Idempotency-Key';
const RULE = 'must be 1 to 255 visible ASCII characters';
const VALID = /^[!-~]{1,255}$/;

/** The response header of a replayed answer. */
const REPLAYED = 'Idempotency-Replayed';

/** A request that may have an idempotency key. */
export interface KeyedRequest {
  /** undefined if the request has no key. */
  readonly key: string | undefined;
  /** The method and the route's path, such as `POST /api/tokens`. */
  readonly route: string;
  readonly body: unknown;
  /** Must be called if the answer is replayed; sets the response header. */
  readonly onReplayed: () => void;
}

/** What makes a creation safe to retry: for 24 hours, the same request under its key is only answered again. */
export type RequestKey = Partial<Pick<KeyedRequest, 'key' | 'onReplayed'>>;

/** Injects the request with its `Idempotency-Key`. @throws DomainError `invalid_parameters`, naming the header */
export const Keyed = createParamDecorator((_data: unknown, context: ExecutionContext): KeyedRequest => {
  const request = context.switchToHttp().getRequest<FastifyRequest>();
  const reply = context.switchToHttp().getResponse<FastifyReply>();
  return {
    key: keyOf(request),
    route: `${request.method} ${request.route?.url ?? ''}`,
    body: request.body ?? {},
    onReplayed: () => void reply.header(REPLAYED, 'true'),
  };
});

function keyOf({ headers }: FastifyRequest): string | undefined {
  const given = headers[NAME.toLowerCase()];
  if (given === undefined) return undefined;
  if (typeof given !== 'string' || !VALID.test(given)) throw invalidParameters([{ field: NAME, message: RULE }]);
  return given;
}

/** Documents that the route accepts the header. */
export function ApiIdempotencyKey(): MethodDecorator {
  return applyDecorators(
    ApiHeader({
      name: NAME,
      required: false,
      description:
        'A unique key for this request, such as a UUID. For 24 hours, a request with the same key and body returns the ' +
        `first response and creates nothing; with a different body, it is refused. The key ${RULE}.`,
      schema: { type: 'string', pattern: VALID.source },
      example: '8c1f4f0e-5f0b-4a55-9a53-6d1c2b7e0d11',
    }),
  );
}

/** Documents the header of a replayed answer. */
export const REPLAYED_HEADER = {
  [REPLAYED]: {
    description: 'true if this is the stored response to an earlier request with the same Idempotency-Key.',
    schema: { type: 'string' as const, enum: ['true'] },
  },
};

/** Refuses the header on routes that do not support it, because a client that sends it relies on it. */
class WithoutIdempotencyKey implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { headers } = context.switchToHttp().getRequest<FastifyRequest>();
    if (headers[NAME.toLowerCase()] === undefined) return true;
    throw invalidParameters([{ field: NAME, message: 'is not supported by this route' }]);
  }
}

/** For a route that is not idempotent and does not support `Idempotency-Key`: a request with the header gets a 400. */
export const RefusesIdempotencyKey = (): MethodDecorator => UseGuards(WithoutIdempotencyKey);

/** Executes requests whose answers hold secrets, such as tokens, once under their keys. */
@Injectable()
export class KeyedSecrets {
  constructor(
    private readonly database: Database,
    private readonly keys: IdempotencyKeys,
    private readonly tokens: TokenRequests,
  ) {}

  /**
   * Executes a request whose answer holds a secret. The answer is replayed only to the token that sent the first
   * request, while that token is valid: another token of the user may have fewer scopes.
   *
   * @throws DomainError `idempotency_key_reused`, `unauthorized`, `user_suspended`, `guest_session_expired`; any
   *   error of `make`
   */
  async once<T extends object>(caller: Principal, request: KeyedRequest, make: () => Promise<T>): Promise<T> {
    const { key, route, body, onReplayed } = request;
    if (key === undefined) return make();
    const { userId, tokenId } = caller;
    const asked = { key, requestHash: requestHash({ route, body, tokenId }), isSecret: true };
    return this.database.runInTxLocking(userId, async () => {
      await this.tokens.requireIssuer(caller);
      const { answer, isReplayed } = await this.keys.once<T>(userId, asked, async (keep) => {
        const made = await make();
        await keep({ answer: made, id: idOf(made) });
      });
      if (isReplayed) onReplayed();
      return answer;
    });
  }
}

/** The id of the created object, without the prefix of an agent's id. */
function idOf(made: object): string {
  const { id } = made as { id?: unknown };
  return typeof id === 'string' ? id.replace(/^agent:/, '') : '';
}

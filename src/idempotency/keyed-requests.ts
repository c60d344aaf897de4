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

/** The header of a replayed answer. */
const REPLAYED = 'Idempotency-Replayed';

/** A request that may have a key. */
export interface KeyedRequest {
  /** undefined: it has none. */
  readonly key: string | undefined;
  /** Such as `POST /api/tokens`. */
  readonly route: string;
  readonly body: unknown;
  /** To be called where its answer is an earlier one. */
  readonly onReplayed: () => void;
}

/**
 * The request with its `Idempotency-Key`.
 *
 * @throws DomainError `invalid_parameters`, naming the header
 */
export const Keyed = createParamDecorator((_data: unknown, context: ExecutionContext): KeyedRequest => {
  const request = context.switchToHttp().getRequest<FastifyRequest>();
  const reply = context.switchToHttp().getResponse<FastifyReply>();
  return {
    key: keyOf(request),
    route: `${request.method} ${request.routeOptions.url ?? ''}`,
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

/** Documents that the route takes the header. */
export function ApiIdempotencyKey(): MethodDecorator {
  return applyDecorators(
    ApiHeader({
      name: NAME,
      required: false,
      description:
        'A key of your own for this request, such as a UUID. For 24 hours the same key with the same body gives the first ' +
        `answer again and creates nothing; with another body it is refused. It ${RULE}.`,
      schema: { type: 'string', pattern: VALID.source },
      example: '8c1f4f0e-5f0b-4a55-9a53-6d1c2b7e0d11',
    }),
  );
}

/** Documents the header of a replayed answer. */
export const REPLAYED_HEADER = {
  [REPLAYED]: {
    description: 'true: this is the answer to an earlier request with the same Idempotency-Key.',
    schema: { type: 'string' as const, enum: ['true'] },
  },
};

/** Refuses the header where nothing is kept under it: a client that sends it relies on it. */
class WithoutIdempotencyKey implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { headers } = context.switchToHttp().getRequest<FastifyRequest>();
    if (headers[NAME.toLowerCase()] === undefined) return true;
    throw invalidParameters([{ field: NAME, message: 'is not supported by this route' }]);
  }
}

/** Of a route that makes something and takes no `Idempotency-Key`: one that is sent is a 400. */
export const RefusesIdempotencyKey = (): MethodDecorator => UseGuards(WithoutIdempotencyKey);

/** Answers requests for secrets, such as tokens, once under their keys. */
@Injectable()
export class KeyedSecrets {
  constructor(
    private readonly database: Database,
    private readonly keys: IdempotencyKeys,
    private readonly tokens: TokenRequests,
  ) {}

  /**
   * Makes something whose answer holds a secret. An answer is replayed to the very token that asked first, while it
   * is good: another one of the user may be allowed less.
   *
   * @throws DomainError `idempotency_key_reused`, `unauthorized`, `user_suspended`, `guest_session_expired`; what
   * `make` throws
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

/** Without the prefix of an agent's. */
function idOf(made: object): string {
  const { id } = made as { id?: unknown };
  return typeof id === 'string' ? id.replace(/^agent:/, '') : '';
}

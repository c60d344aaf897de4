import { applyDecorators, createParamDecorator, ExecutionContext, Injectable } from '@nestjs/common';
import { ApiHeader } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { createHash } from 'node:crypto';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { Database, Retention } from '../database';
import { TIMESTAMP } from '../database/column-types';
import { DomainError, invalidParameters } from '../errors';
import { EventLog } from '../events';
import { Secrets } from '../secrets';
import { Clock } from '../scheduling';
import type { ContainerCreatedView } from './dto/responses';

/** A creation that was answered under a client's key, written in the transaction that inserted the container. */
@Entity('idempotency_keys')
export class IdempotencyKeyEntity {
  @PrimaryColumn({ name: 'user_id', type: 'varchar', length: 36 })
  userId: string;

  @PrimaryColumn({ type: 'varchar', length: 255 })
  key: string;

  /** A keyed digest of the request's hash, 64 hex: the request holds the user's secrets, which may be guessed. */
  @Column({ name: 'request_hash', type: 'varchar', length: 64 })
  requestHash: string;

  @Column({ type: 'simple-json' })
  answer: ContainerCreatedView;

  @Column({ name: 'container_id', type: 'varchar', length: 36 })
  containerId: string;

  @Index('idempotency_keys_created_at')
  @Column({ name: 'created_at', type: TIMESTAMP })
  createdAt: Date;
}

/** How long a key is kept, in milliseconds. */
const KEPT_MS = 24 * 3_600_000;

/** Keeps the keys for 24 hours. */
@Injectable()
export class IdempotencyRetention extends Retention {
  constructor(database: Database, clock: Clock) {
    super(database, clock, {
      name: 'idempotency keys',
      entity: IdempotencyKeyEntity,
      since: 'created_at',
      keptMs: KEPT_MS,
    });
  }
}

/** A creation that happens once, however often it is requested under its key. */
export interface OnceOnly {
  readonly key: string;
  /** Not to be stored: see `IdempotencyKeyEntity`. */
  readonly requestHash: string;
  /** The answer to the first request, and to every later one. */
  readonly answer: ContainerCreatedView;
}

/** The keys that were used in the last 24 hours, each with its request and answer. */
@Injectable()
export class IdempotencyKeys {
  constructor(
    private readonly database: Database,
    private readonly eventLog: EventLog,
    private readonly clock: Clock,
    private readonly retention: IdempotencyRetention,
    private readonly secrets: Secrets,
  ) {}

  /**
   * Inserts a container once under a client's key, in one transaction that locks the user's row: of several concurrent
   * requests one finds no answer, and the others the answer of that one.
   *
   * @param insert in this transaction
   * @returns null; or the earlier answer under this key, and then nothing is inserted
   * @throws DomainError `idempotency_key_reused` if it belongs to another request; what `insert` throws
   */
  async once(
    container: { readonly id: string; readonly userId: string },
    request: OnceOnly,
    insert: () => Promise<void>,
  ): Promise<ContainerCreatedView | null> {
    return this.database.runInTxLocking(container.userId, async () => {
      await this.eventLog.lock(container.userId);
      // Before any other check: the first request may have used the last place, and has taken the name.
      const answer = await this.answerOf(container.userId, request);
      if (answer) return answer;
      await this.keep(container, request);
      // The last, as it locks what all users share.
      await insert();
      return null;
    });
  }

  private async answerOf(userId: string, { key, requestHash }: OnceOnly): Promise<ContainerCreatedView | null> {
    const { manager } = this.database;
    const used = await manager.findOneBy(IdempotencyKeyEntity, { userId, key });
    if (!used) return null;
    if (used.createdAt <= this.retention.newestDue()) {
      await manager.delete(IdempotencyKeyEntity, { userId, key });
      return null;
    }
    // What an earlier version stored is the hash itself.
    const known: readonly string[] = [...this.secrets.digests(requestHash), requestHash];
    if (!known.includes(used.requestHash)) throw new DomainError('idempotency_key_reused');
    return used.answer;
  }

  private async keep(container: { id: string; userId: string }, { key, requestHash, answer }: OnceOnly): Promise<void> {
    const { id: containerId, userId } = container;
    const createdAt = this.clock.now();
    await this.database.manager.insert(IdempotencyKeyEntity, {
      userId,
      key,
      requestHash: this.secrets.digests(requestHash)[0],
      answer,
      containerId,
      createdAt,
    });
  }
}

const NAME = 'Idempotency-Key';
const RULE = 'must be 1 to 255 visible ASCII characters';
const VALID = /^[!-~]{1,255}$/;

/**
 * The request's `Idempotency-Key`; undefined if it has none.
 *
 * @throws DomainError `invalid_parameters`, naming the header
 */
export const IdempotencyKey = createParamDecorator((_data: unknown, context: ExecutionContext): string | undefined => {
  const given = context.switchToHttp().getRequest<FastifyRequest>().headers[NAME.toLowerCase()];
  if (given === undefined) return undefined;
  if (typeof given !== 'string' || !VALID.test(given)) throw invalidParameters([{ field: NAME, message: RULE }]);
  return given;
});

/** Documents the header. */
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

/** The header of a replayed answer. */
export const REPLAYED = {
  name: 'Idempotency-Replayed',
  documentation: {
    'Idempotency-Replayed': {
      description: 'true: this is the answer to an earlier request with the same Idempotency-Key.',
      schema: { type: 'string' as const, enum: ['true'] },
    },
  },
};

/** SHA-256 as 64 hex of a JSON value; independent of the order of its fields. Undefined fields count as absent. */
export function requestHash(request: object): string {
  return createHash('sha256').update(canonicalJson(request)).digest('hex');
}

function canonicalJson(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`);
  return `{${members.join(',')}}`;
}

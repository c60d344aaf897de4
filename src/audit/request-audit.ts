import {
  applyDecorators,
  CallHandler,
  ExecutionContext,
  Inject,
  Injectable,
  NestInterceptor,
  OnModuleInit,
  SetMetadata,
  UseInterceptors,
} from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { from, lastValueFrom, Observable } from 'rxjs';
import { ScopeRefusals } from '../auth';
import { errorAnswer } from '../errors';
import { acceptsEvents } from '../http';
import { LOGGER, requestContext, type RequestContext } from '../logging';
import { LruMap } from '../scheduling';
import { type AuditAction, type AuditIntent, AuditLog, AuditOutcome } from './audit-log';

export const AUDITED = 'berth:audited';
const LOOK = 'berth:audited-look';

/** Which calls of an `@AuditedLook()` route are polls: those that are not streamed, or all. */
type Polls = 'answers' | 'all';

/** The minimum interval between two entries of a client that polls. */
const LOOK_EVERY_MS = 60_000;
/** Maximum remembered polls; one that was evicted is recorded again. */
const MOST_LOOKS = 10_000;

/** Values that fit the column and are safe to display; Berth's own ids always match. */
const SHOWABLE = /^[A-Za-z0-9:_.-]{1,128}$/;

/** The id or name in the request's path; null if it has none, or one that cannot be Berth's. */
function namedTarget(params: unknown): string | null {
  return showable(fieldOf(params, 'id') ?? fieldOf(params, 'name'));
}

/**
 * The ids in a response: of the created object, or of the user who logged in.
 *
 * @param caller the user who acted; null: not authenticated before, so a user in the answer is one who logged in
 */
function madeTarget(answer: unknown, caller: string | null): Partial<AuditOutcome> {
  const containerId = showable(fieldOf(answer, 'db_id'));
  const user = showable(fieldOf(fieldOf(answer, 'user'), 'id'));
  const targetId = showable(fieldOf(answer, 'id')) ?? user;
  return {
    ...(containerId !== null && { containerId }),
    ...(targetId !== null && { targetId }),
    ...(user !== null && caller === null && { userId: user, subjectUserId: user }),
  };
}

/** @returns the value if it may be stored in the audit log; null otherwise */
export function showable(value: unknown): string | null {
  return typeof value === 'string' && SHOWABLE.test(value) ? value : null;
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

/** Work that an audit entry surrounds. */
interface AuditedWork<T> {
  /** Where services note details of the work. */
  readonly context: RequestContext | undefined;
  readonly work: () => Promise<T>;
  /** Details taken from the answer of `work`. */
  readonly made?: (answer: T) => Partial<AuditOutcome>;
}

/**
 * Writes an audit entry before an `@Audited()` route's handler runs, and its outcome afterwards, including refusals
 * and failures. If the entry cannot be written, the handler does not run. An entry that stays `pending` was cut off
 * by the end of the process; the container itself shows how far the action came.
 */
@Injectable()
export class RequestAudit implements OnModuleInit {
  private readonly looks = new LruMap<{ readonly at: number }>(MOST_LOOKS);

  constructor(
    private readonly log: AuditLog,
    private readonly reflector: Reflector,
    private readonly refusals: ScopeRefusals,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  onModuleInit(): void {
    // The guard runs before interceptors, so a call that it refuses never reaches {@link surround}.
    this.refusals.onRefused(async (context) => {
      const action = this.reflector.get<AuditAction | undefined>(AUDITED, context.getHandler());
      if (action === undefined) return;
      const request = context.switchToHttp().getRequest<FastifyRequest>();
      await this.finish(await this.log.begin(intentOf(action, request)), { outcome: 'insufficient_permissions' });
    });
  }

  /** @returns the handler's answer. @throws the handler's error */
  async surround(context: ExecutionContext, next: CallHandler): Promise<unknown> {
    const action = this.reflector.get<AuditAction>(AUDITED, context.getHandler());
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const intent = intentOf(action, request);
    const call = {
      context: request.logContext,
      work: () => lastValueFrom(next.handle() as Observable<unknown>, { defaultValue: undefined }),
      made: (answer: unknown) => (namedTarget(request.params) === null ? madeTarget(answer, intent.userId) : {}),
    };
    // A response streamed as events may last for hours, so it gets an entry of its own.
    const polls = this.reflector.get<Polls | undefined>(LOOK, context.getHandler());
    const isLook = polls === 'all' || (polls === 'answers' && !acceptsEvents(request));
    return isLook ? this.look(intent, call) : this.during(intent, call);
  }

  /** Records the first poll within a minute, and each poll that fails. */
  private async look<T>(intent: AuditIntent, call: AuditedWork<T>): Promise<T> {
    const { action, userId, tokenId, targetId, address } = intent;
    const key = JSON.stringify([action, userId, tokenId, targetId, address]);
    const at = performance.now();
    const noted = this.looks.get(key);
    if (!noted || at - noted.at >= LOOK_EVERY_MS) {
      const answer = await this.during(intent, call);
      this.looks.set(key, { at });
      return answer;
    }
    try {
      return await call.work();
    } catch (error) {
      const { code } = errorAnswer(error, intent.requestId).body;
      await this.finish(await this.log.begin(intent), { outcome: code, ...subjectOf(call.context) });
      throw error;
    }
  }

  /**
   * Writes an audit entry, runs `work`, which is no request of HTTP, in a request context of its own, and writes its
   * outcome.
   *
   * @param options.isLook the work is a read that clients poll: see {@link AuditedLook}
   */
  inContext<T>(
    intent: AuditIntent & { readonly userId: string },
    work: () => Promise<T>,
    { isLook = false }: { readonly isLook?: boolean } = {},
  ): Promise<T> {
    const context: RequestContext = { requestId: intent.requestId, userId: intent.userId };
    const call = { context, work: () => requestContext.run(context, work) };
    return isLook ? this.look(intent, call) : this.during(intent, call);
  }

  private async during<T>(intent: AuditIntent, { context, work, made }: AuditedWork<T>): Promise<T> {
    const id = await this.log.begin(intent);
    try {
      const answer = await work();
      await this.finish(id, { outcome: 'ok', ...made?.(answer), ...subjectOf(context) });
      return answer;
    } catch (error) {
      const { code } = errorAnswer(error, intent.requestId).body;
      await this.finish(id, { outcome: code, ...subjectOf(context) });
      throw error;
    }
  }

  /**
   * The action has been done or refused by now, so the caller gets its result even if the outcome cannot be recorded.
   */
  private async finish(id: string, outcome: AuditOutcome): Promise<void> {
    try {
      await this.log.finish(id, outcome);
    } catch (error) {
      this.logger.error(
        { err: error, audit_id: id, outcome: outcome.outcome },
        'an audited outcome could not be written',
      );
    }
  }
}

function intentOf(action: AuditAction, { principal, params, ip, id }: FastifyRequest): AuditIntent {
  return {
    action,
    userId: principal?.userId ?? null,
    // Empty for a caller without a token, such as one with the secret of a sandbox.
    tokenId: principal?.tokenId || null,
    targetId: namedTarget(params),
    address: ip,
    requestId: id,
  };
}

/** The details that services noted in the request's context: the container, its owner, and what was done in it. */
function subjectOf(context: RequestContext | undefined): Partial<AuditOutcome> {
  const { containerId, subjectUserId, done: detail } = context ?? {};
  return {
    ...(containerId !== undefined && { containerId }),
    ...(subjectUserId !== undefined && { subjectUserId }),
    ...(detail !== undefined && { detail }),
  };
}

/** Longer than any program name that is useful to a reader. */
const MOST_PROGRAM = 255;

/** Notes for the audit which program the request starts in a container. @param command its arguments are left out */
export function noteProgram([program = '']: readonly string[]): void {
  const context = requestContext.getStore();
  if (context) context.done = { program: program.slice(0, MOST_PROGRAM) };
}

/**
 * Counts for the audit the bytes that the request transfers.
 *
 * @returns a function to call with the number of bytes of each part
 */
export function notedBytes(): (bytes: number) => void {
  const done = { bytes: 0 };
  const context = requestContext.getStore();
  if (context) context.done = done;
  return (bytes) => void (done.bytes += bytes);
}

/**
 * Bound to audited routes only: an interceptor on every route (Nest 11 binds an async resource for each) makes a read
 * a tenth slower.
 */
@Injectable()
class AuditedInterceptor implements NestInterceptor {
  constructor(private readonly audit: RequestAudit) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return from(this.audit.surround(context, next));
  }
}

/**
 * Writes an audit entry before each call of the route, and its outcome afterwards. Every route that writes has this
 * decorator; its module imports {@link AuditModule}.
 */
export const Audited = (action: AuditAction): MethodDecorator =>
  applyDecorators(SetMetadata(AUDITED, action), UseInterceptors(AuditedInterceptor));

/**
 * Like {@link Audited}, for reads that clients poll: of the calls of one token from one address on one target, only
 * the first within a minute is recorded, and each that fails.
 *
 * @param options.polls `all`: also streams, which clients of the route open again and again
 */
export const AuditedLook = (
  action: AuditAction,
  { polls = 'answers' }: { readonly polls?: Polls } = {},
): MethodDecorator => applyDecorators(SetMetadata(LOOK, polls), Audited(action));

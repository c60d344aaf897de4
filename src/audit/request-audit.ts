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
import { acceptsEvents } from '../events';
import { LOGGER, requestContext, type RequestContext } from '../logging';
import { LruMap } from '../scheduling';
import { type AuditAction, type AuditIntent, AuditLog, AuditOutcome } from './audit-log';

export const AUDITED = 'berth:audited';
const LOOK = 'berth:audited-look';

/** A client that polls is written down once in this time. */
const LOOK_EVERY_MS = 60_000;
/** Of so many who look at something; a forgotten one is written down again. */
const MOST_LOOKS = 10_000;

/** What fits the column and every reader's screen; an id of ours always does. */
const SHOWABLE = /^[A-Za-z0-9:_.-]{1,128}$/;

/** The id, or an image's name, that a request names; null where it names none, or something that is none of ours. */
function namedTarget(params: unknown): string | null {
  return showable(fieldOf(params, 'id') ?? fieldOf(params, 'name'));
}

/** The id of what a route created, or of the user who logged in, taken from the response. */
function madeTarget(answer: unknown): Partial<AuditOutcome> {
  const containerId = showable(fieldOf(answer, 'db_id'));
  const user = showable(fieldOf(fieldOf(answer, 'user'), 'id'));
  const targetId = showable(fieldOf(answer, 'id')) ?? user;
  return {
    ...(containerId !== null && { containerId }),
    ...(targetId !== null && { targetId }),
    ...(user !== null && { userId: user, subjectUserId: user }),
  };
}

/** @returns the value if it fits the audit; null if it is none of ours */
export function showable(value: unknown): string | null {
  return typeof value === 'string' && SHOWABLE.test(value) ? value : null;
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

/**
 * Has every call of a route that is `@Audited()` written down before it does anything, and its outcome afterwards,
 * refusals and failures included. What cannot be written down is not done. An entry that stays `pending` was cut off by
 * the end of the process; its progress is seen in the container itself.
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
    // The guard comes before: whom it turns away never gets to the call.
    this.refusals.onRefused(async (context) => {
      const action = this.reflector.get<AuditAction | undefined>(AUDITED, context.getHandler());
      if (action === undefined) return;
      const request = context.switchToHttp().getRequest<FastifyRequest>();
      await this.finish(await this.log.begin(intentOf(action, request)), { outcome: 'insufficient_permissions' });
    });
  }

  /** @returns the call's own answer, or its error */
  surround(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return from(this.audited(context, next));
  }

  private async audited(context: ExecutionContext, next: CallHandler): Promise<unknown> {
    const action = this.reflector.get<AuditAction>(AUDITED, context.getHandler());
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const intent = intentOf(action, request);
    const call = {
      work: () => lastValueFrom(next.handle() as Observable<unknown>, { defaultValue: undefined }),
      found: () => subjectOf(request.logContext),
      made: (answer: unknown) => (namedTarget(request.params) === null ? madeTarget(answer) : {}),
    };
    // What is followed may go on for hours.
    const isLook =
      this.reflector.get<boolean | undefined>(LOOK, context.getHandler()) === true && !acceptsEvents(request);
    return isLook ? this.look(intent, call) : this.during(intent, call);
  }

  /** Writes down the first look of a minute, and each that fails. */
  private async look<T>(
    intent: AuditIntent,
    call: { work: () => Promise<T>; found: () => Partial<AuditOutcome> },
  ): Promise<T> {
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
      await this.finish(await this.log.begin(intent), { outcome: code, ...call.found() });
      throw error;
    }
  }

  /**
   * Writes down what is about to be done, does it, and writes down how it ended.
   *
   * @param call.found what is known of it once it has ended. @param call.made the same of its answer
   */
  async during<T>(
    intent: AuditIntent,
    call: {
      work: () => Promise<T>;
      found: () => Partial<AuditOutcome>;
      made?: (answer: T) => Partial<AuditOutcome>;
    },
  ): Promise<T> {
    const id = await this.log.begin(intent);
    try {
      const answer = await call.work();
      await this.finish(id, { outcome: 'ok', ...call.made?.(answer), ...call.found() });
      return answer;
    } catch (error) {
      const { code } = errorAnswer(error, intent.requestId).body;
      await this.finish(id, { outcome: code, ...call.found() });
      throw error;
    }
  }

  /** It is done (or refused) by now, so the caller gets that answer even if the outcome cannot be recorded. */
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
    tokenId: principal?.tokenId ?? null,
    targetId: namedTarget(params),
    address: ip,
    requestId: id,
  };
}

/** What the services have found out on their way: which container it is, whose, and what was done in it. */
export function subjectOf(context: RequestContext | undefined): Partial<AuditOutcome> {
  const { containerId, subjectUserId, done: detail } = context ?? {};
  return {
    ...(containerId !== undefined && { containerId }),
    ...(subjectUserId !== undefined && { subjectUserId }),
    ...(detail !== undefined && { detail }),
  };
}

/** Longer than any program's name that is of use to a reader. */
const MOST_PROGRAM = 255;

/** Notes for the audit what the request starts in a container. @param command its arguments are left out */
export function noteProgram([program = '']: readonly string[]): void {
  const context = requestContext.getStore();
  if (context) context.done = { program: program.slice(0, MOST_PROGRAM) };
}

/** Begins to note for the audit how many bytes the request moves. @returns to be called with each number that it has */
export function notedBytes(): (bytes: number) => void {
  const done = { bytes: 0 };
  const context = requestContext.getStore();
  if (context) context.done = done;
  return (bytes) => void (done.bytes += bytes);
}

/**
 * On audited routes alone: what every route has to pass (Nest 11 binds a resource for each) costs a read a tenth of its
 * time.
 */
@Injectable()
export class AuditedInterceptor implements NestInterceptor {
  constructor(private readonly audit: RequestAudit) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return this.audit.surround(context, next);
  }
}

/**
 * Writes an audit entry before each call of the route does anything, and its outcome afterwards. Every route that
 * writes has one; its module imports {@link AuditModule}.
 */
export const Audited = (action: AuditAction): MethodDecorator =>
  applyDecorators(SetMetadata(AUDITED, action), UseInterceptors(AuditedInterceptor));

/** The same of a look that clients repeat: of those within a minute by one token from one address, the first. */
export const AuditedLook = (action: AuditAction): MethodDecorator =>
  applyDecorators(SetMetadata(LOOK, true), Audited(action));

import { ExecutionContext, Inject, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { AuthGuard as PassportGuard } from '@nestjs/passport';
import { FastifyRequest } from 'fastify';
import { DomainError } from '../errors';
import { LOGGER, type Logger } from '../logging';
import { bearerToken, insufficientScope, invalidToken, isBearer } from './bearer';
import { BearerStrategy } from './bearer.strategy';
import { CONTAINER_TOKENS, PUBLIC, REQUIRED_SCOPES } from './decorators';
import { holdsScope, Principal, RouteScope, setCaller } from './principal';

/** Called for a caller whose token lacks the route's scope, before the answer is sent. */
type RefusalListener = (context: ExecutionContext) => Promise<void>;

/** Notifies listeners when the guard rejects a call for missing scopes. */
@Injectable()
export class ScopeRefusals {
  private readonly listeners: RefusalListener[] = [];

  onRefused(listener: RefusalListener): void {
    this.listeners.push(listener);
  }

  /** @throws what a listener throws */
  async emit(context: ExecutionContext): Promise<void> {
    for (const listener of this.listeners) await listener(context);
  }
}

/** A route's declared access. */
interface Access {
  /** The controller; several controllers may inherit a handler. */
  readonly of: object;
  readonly isPublic: boolean;
  readonly required: readonly RouteScope[] | undefined;
  /** Whether tokens for one container are admitted. */
  readonly isForContainerTokens: boolean;
}

/** Checks every route. Deny by default: a route without an access decorator is refused. */
@Injectable()
export class AuthGuard extends PassportGuard() {
  private readonly accesses = new WeakMap<object, Access>();

  constructor(
    private readonly reflector: Reflector,
    private readonly refusals: ScopeRefusals,
    @Inject(LOGGER) private readonly logger: Logger,
    strategy: BearerStrategy,
  ) {
    super({ defaultStrategy: strategy.registeredAs, session: false });
  }

  /**
   * Answers without a promise if the request was admitted before, as it is when Nest runs the guard: one promise less
   * for each request.
   *
   * @throws DomainError `unauthorized`, `insufficient_permissions`, and what `onAuthenticated` throws
   */
  override canActivate(context: ExecutionContext): true | Promise<true> {
    // Sockets are authenticated before they are connected, so their messages need no guard.
    if (context.getType() !== 'http') return true;
    const access = this.accessOf(context);
    if (access.isPublic) return true;
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    if (request.admittedTo === context.getHandler()) return true;
    return this.admit(context, request, access);
  }

  private async admit(
    context: ExecutionContext,
    request: FastifyRequest,
    { required, isForContainerTokens }: Access,
  ): Promise<true> {
    await super.canActivate(context);
    const { principal, onAuthenticated } = request;
    if (principal && onAuthenticated) await onAuthenticated(principal, 'token');
    if (!required) {
      const route = `${context.getClass().name}.${context.getHandler().name}`;
      this.logger.error({ route }, 'the route declares neither @Public() nor @Scopes(), so it is closed to everyone');
    }
    const isForOthers = principal?.boundTo != null && !isForContainerTokens;
    if (!principal || isForOthers || !required?.every((scope) => holdsScope(principal, scope))) {
      await this.refusals.emit(context);
      throw isForOthers ? insufficientScope() : insufficientScope(...(required ?? []));
    }
    request.admittedTo = context.getHandler();
    return true;
  }

  /** Called by passport with its result. */
  override handleRequest<T = Principal>(
    error: unknown,
    principal: T | false | null,
    _info: unknown,
    context: ExecutionContext,
  ): T {
    if (error instanceof Error) throw error;
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    if (!principal) {
      throw isBearer(request.headers.authorization) ? invalidToken() : new DomainError('unauthorized');
    }
    setCaller(request, principal as unknown as Principal);
    return principal;
  }

  /**
   * Shows passport only the Authorization header, in the one form that it reads. Its bearer strategy would also
   * accept `?access_token=` and a body field, and a token in a URL ends up in logs and histories.
   */
  override getRequest(context: ExecutionContext): { headers: { authorization: string | undefined } } {
    const token = bearerToken(context.switchToHttp().getRequest<FastifyRequest>().headers.authorization);
    return { headers: { authorization: token === null ? undefined : `Bearer ${token}` } };
  }

  /** Cached per route: reading the metadata takes longer than the rest of the guard. */
  private accessOf(context: ExecutionContext): Access {
    const handler = context.getHandler();
    const known = this.accesses.get(handler);
    if (known?.of === context.getClass()) return known;
    const declared = [handler, context.getClass()];
    const access: Access = {
      of: context.getClass(),
      isPublic: this.reflector.getAllAndOverride<boolean | undefined>(PUBLIC, declared) === true,
      required: this.reflector.getAllAndOverride<readonly RouteScope[] | undefined>(REQUIRED_SCOPES, declared),
      isForContainerTokens: this.reflector.getAllAndOverride<boolean | undefined>(CONTAINER_TOKENS, declared) === true,
    };
    this.accesses.set(handler, access);
    return access;
  }
}

import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { setCaller } from '../../auth';
import { invalidParameters } from '../../errors';
import { addressKey } from '../../http';
import { RefusedTokens } from '../../rate-limits';
import { Clock } from '../../scheduling';
import { E2bError } from '../e2b-error';
import { type OpenedSandbox, SandboxAccess } from '../sandbox-access';
import { ENVD_PORT, routeError, userOf } from './envd-call';

type Query = Readonly<Record<string, unknown>>;

/** The headers by which E2B's clients say which sandbox, and which port of it, a request is for. */
export const SANDBOX_HEADER = 'e2b-sandbox-id';
export const PORT_HEADER = 'e2b-sandbox-port';
/** The header with the secret of a sandbox. */
export const SECRET_HEADER = 'x-access-token';
/** The header with the token of a sandbox's ports. */
export const TRAFFIC_HEADER = 'e2b-traffic-access-token';

/** What of a query is signed, and the signature. */
const SIGNED = ['path', 'username', 'signature', 'signature_expiration'] as const;

/** What a signature is for, by the route's method. */
const OPERATIONS: Readonly<Record<string, string>> = { GET: 'read', HEAD: 'read', POST: 'write' };

/**
 * Admits a request to a sandbox by its secret, in the name of its owner: the secret itself, or for `/files` a signature
 * that is made with it.
 */
@Injectable()
export class EnvdGuard implements CanActivate {
  constructor(
    private readonly access: SandboxAccess,
    private readonly refused: RefusedTokens,
    private readonly clock: Clock,
  ) {}

  /** @throws DomainError as {@link SandboxAccess.open}; `invalid_parameters`, `rate_limit_exceeded`; E2bError */
  async canActivate(context: ExecutionContext): Promise<true> {
    const request = context.switchToHttp().getRequest<FastifyRequest<{ Querystring: Query }>>();
    try {
      const opened = await this.open(request);
      const { username } = request.query;
      // For the audit, as in a route with the id in its path.
      request.params = { id: opened.containerId };
      setCaller(request, opened.principal);
      await request.onAuthenticated?.(opened.principal, 'link');
      const user = typeof username === 'string' && username !== '' ? username : undefined;
      request.envd = { ...opened, user: user ?? userOf(request.headers.authorization) };
      return true;
    } catch (error) {
      throw routeError(error);
    }
  }

  /** Opens the sandbox that a request names, if it has its secret. @throws DomainError */
  private async open(request: FastifyRequest): Promise<OpenedSandbox> {
    const { headers, ip } = request;
    const id = headers[SANDBOX_HEADER];
    if (typeof id !== 'string') throw missing(SANDBOX_HEADER);
    const token = headers[SECRET_HEADER];
    const query = request.query as Query;
    const isSigned = token === undefined && typeof query['signature'] === 'string';
    if (!isSigned) return this.openBySecret(id, token, ip);
    const open = (): Promise<OpenedSandbox> =>
      this.access.openBy(id, (secret) => this.isSigned(request, query, secret));
    return this.refused.guard(open, { address: addressKey(ip), credential: `${id}:${String(query['signature'])}` });
  }

  /**
   * Opens a sandbox by the secret in a header. An address may not guess without end.
   *
   * @throws DomainError as {@link SandboxAccess.open}; `rate_limit_exceeded`
   */
  openBySecret(id: string, secret: string | readonly string[] | undefined, address: string): Promise<OpenedSandbox> {
    const token = typeof secret === 'string' ? secret : undefined;
    const open = (): Promise<OpenedSandbox> => this.access.open(id, token);
    return this.refused.guard(open, { address: addressKey(address), credential: `${id}:${token ?? ''}` });
  }

  /**
   * Opens a sandbox for its ports, by either of its tokens.
   *
   * @throws DomainError as {@link openBySecret}
   */
  openPorts(
    id: string,
    { headers, address }: { headers: IncomingHttpHeaders; address: string },
  ): Promise<OpenedSandbox> {
    const token = [SECRET_HEADER, TRAFFIC_HEADER].map((name) => textOf(headers[name])).find(Boolean) ?? '';
    const open = (): Promise<OpenedSandbox> => this.access.openPorts(id, token);
    return this.refused.guard(open, { address: addressKey(address), credential: `${id}:${token}` });
  }

  /**
   * Checks `v1_` and the unpadded Base64 of SHA-256 of what is signed, as E2B's clients make it.
   *
   * @throws E2bError if the signature is valid but has expired
   */
  private isSigned({ method, routeOptions }: FastifyRequest, query: Query, secret: string): boolean {
    const operation = OPERATIONS[method];
    if (operation === undefined || routeOptions.url?.endsWith('/files') !== true) return false;
    const [path = '', username = '', signature, expiration] = SIGNED.map((name) => textOf(query[name]));
    const parts = [path, operation, username, secret, ...(expiration === undefined ? [] : [expiration])];
    const signed = createHash('sha256').update(parts.join(':')).digest('base64').replace(/=+$/, '');
    const [given, wanted] = [String(signature), `v1_${signed}`].map((text) =>
      createHash('sha256').update(text).digest(),
    );
    if (!given || !wanted || !timingSafeEqual(given, wanted)) return false;
    if (expiration !== undefined && !(Number(expiration) * 1000 > this.clock.now().getTime())) {
      throw new E2bError(401, 'signature is already expired');
    }
    return true;
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function missing(field: string): Error {
  return invalidParameters([
    { field, message: `must name the sandbox; ${PORT_HEADER}: ${String(ENVD_PORT)} its envd` },
  ]);
}

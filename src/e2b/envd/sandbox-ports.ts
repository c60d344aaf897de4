import { Injectable, type OnModuleInit } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { DomainError, errorAnswer, type ErrorCode, invalidParameters } from '../../errors';
import { ClientAddress } from '../../http';
import {
  type KnownVisit,
  portOf,
  type PreviewExtension,
  PreviewServer,
  Previews,
  type PreviewTarget,
} from '../../previews';
import { ENVD_PORT } from './envd-call';
import { SandboxAccess } from '../sandbox-access';
import { EnvdGuard, PORT_HEADER, SANDBOX_HEADER, SECRET_HEADER, TRAFFIC_HEADER } from './envd.guard';

/** Where E2B's routes are on the API's listener. */
const BASE = '/e2b';

const REFUSALS: Readonly<Partial<Record<ErrorCode, { readonly status: number; readonly message: string }>>> = {
  container_not_found: { status: 502, message: 'The sandbox was not found' },
  unauthorized: { status: 403, message: `The port is private: send its sandbox's token as ${TRAFFIC_HEADER}` },
};

/** What a sandbox's own address serves; the control API is not among it. */
const ENVD_PATHS = /^\/(?:files|health|envs|metrics|process\.Process\/\w+|filesystem\.Filesystem\/\w+)(?:\?|$)/;

/**
 * The two ways to a sandbox. Below the preview domain, envd has a port of each container, and the secret of a sandbox
 * opens its other ports too, and so does its traffic token. Below `/e2b`, a header names the port; other ports than
 * envd's are the container's.
 */
@Injectable()
export class SandboxPorts implements PreviewExtension, OnModuleInit {
  readonly port = ENVD_PORT;

  constructor(
    private readonly http: HttpAdapterHost,
    private readonly server: PreviewServer,
    private readonly previews: Previews,
    private readonly guard: EnvdGuard,
    private readonly access: SandboxAccess,
    private readonly clients: ClientAddress,
  ) {}

  onModuleInit(): void {
    this.server.extend(this);
  }

  /** Hands a request on to the API's routes, with all of their limits. @throws DomainError `route_not_found` */
  async serve(request: IncomingMessage, response: ServerResponse, { containerId }: PreviewTarget): Promise<void> {
    const { url = '/' } = request;
    if (!ENVD_PATHS.test(url)) throw new DomainError('route_not_found');
    const fastify = this.http.httpAdapter.getInstance<FastifyInstance>();
    await fastify.ready();
    request.url = `${BASE}${url}`;
    // The name has been checked: it is the sandbox's.
    Object.assign(request.headers, {
      host: 'localhost',
      [SANDBOX_HEADER]: containerId,
      [PORT_HEADER]: String(ENVD_PORT),
    });
    fastify.routing(request, response);
  }

  /** @throws DomainError as `EnvdGuard.openBySecret` */
  async visitOf(
    request: IncomingMessage,
    { target, clientAddress }: { readonly target: PreviewTarget; readonly clientAddress: string },
  ): Promise<KnownVisit> {
    const { containerId, port } = target;
    const { isPublic, requestHost } = (await this.access.portsOf(containerId)) ?? {
      isPublic: false,
      requestHost: null,
    };
    const known = { principal: null, isPublic, host: requestHost?.replaceAll('${PORT}', String(port)) ?? null };
    const [secret, traffic] = [SECRET_HEADER, TRAFFIC_HEADER].map((name) => tokenIn(request, name));
    if (secret === undefined && traffic === undefined) return known;
    const { principal } =
      secret === undefined
        ? await this.guard.openPorts(containerId, traffic ?? '', clientAddress)
        : await this.guard.openBySecret(containerId, secret, clientAddress);
    withoutSecrets(request);
    return { ...known, principal };
  }

  /** E2B's own answers where a sandbox is gone, or its traffic token is missing. */
  async refusalOf(error: unknown, { containerId }: PreviewTarget): Promise<{ status: number; body: object } | null> {
    const refusal = error instanceof DomainError ? REFUSALS[error.kind] : undefined;
    if (!refusal || !(await this.access.portsOf(containerId))) return null;
    const { status, message } = refusal;
    return { status, body: { code: status, message, sandboxId: containerId } };
  }

  /**
   * Passes a request below `/e2b` on to the port of a container that its headers name.
   *
   * @throws DomainError as `EnvdGuard.openBySecret`, `invalid_parameters`, before anything was answered
   */
  async pass(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const { headers, raw, ip } = request;
    const [id, port] = [headers[SANDBOX_HEADER], portOf(String(headers[PORT_HEADER]))];
    if (port === null) throw invalidParameters([{ field: PORT_HEADER, message: 'must be a port from 1 to 65535' }]);
    if (typeof id !== 'string') throw invalidParameters([{ field: SANDBOX_HEADER, message: 'must name the sandbox' }]);
    const { principal, containerId } = await this.guard.openBySecret(id, headers[SECRET_HEADER], ip);
    await request.onAuthenticated?.(principal, 'link');
    withoutSecrets(raw);
    raw.url = raw.url?.slice(BASE.length);
    reply.hijack();
    const target = { containerId, port };
    const origin = this.server.originOf(target) ?? `${request.protocol}://${request.host}`;
    try {
      const known = { principal, isPublic: false, host: null };
      const visit = { target, origin, clientAddress: this.clients.of(raw), known };
      await this.previews.serve(raw, reply.raw, visit);
    } catch (error) {
      answer(reply.raw, errorAnswer(error, request.id));
    }
  }
}

/** An application may have a header of this name: without the form of a token, it is the application's. */
function tokenIn({ headers }: IncomingMessage, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value) ? value : undefined;
}

/** An application in the sandbox need not see what opens the sandbox from outside. */
function withoutSecrets({ rawHeaders }: IncomingMessage): void {
  for (let at = rawHeaders.length - 2; at >= 0; at -= 2) {
    const name = rawHeaders[at]?.toLowerCase();
    if (name === SECRET_HEADER || name === TRAFFIC_HEADER) rawHeaders.splice(at, 2);
  }
}

function answer(response: ServerResponse, { status, headers, body }: ReturnType<typeof errorAnswer>): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const text = JSON.stringify({ code: status, message: body.error });
  response.shouldKeepAlive = false;
  response.writeHead(status, { ...headers, 'content-type': 'application/json', 'cache-control': 'no-store' }).end(text);
}

/**
 * Has requests below `/e2b` that name another port than envd's pass to the container. Call it after the hooks that
 * count requests.
 */
export function passSandboxPorts(app: NestFastifyApplication): void {
  const ports = app.get(SandboxPorts);
  app
    .getHttpAdapter()
    .getInstance()
    .addHook('onRequest', async (request, reply) => {
      const port = request.headers[PORT_HEADER];
      if (port === undefined || port === String(ENVD_PORT) || !request.url.startsWith(`${BASE}/`)) return;
      await ports.pass(request, reply);
    });
}

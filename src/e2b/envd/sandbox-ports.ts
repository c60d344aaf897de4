import { Injectable, type OnModuleInit } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Principal } from '../../auth';
import { CODE_PORT, CodeRunner, ENVIRONMENT_HEADER } from '../../code';
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
import { SandboxAccess } from '../sandbox-access';
import { ENVD_PORT } from './envd-call';
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
    private readonly code: CodeRunner,
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
    const settings = await this.access.portsOf(containerId);
    const known = {
      principal: null,
      // A request to that port runs code in the sandbox.
      isPublic: settings?.isPublic === true && port !== CODE_PORT,
      host: settings?.requestHost?.replaceAll('${PORT}', String(port)) ?? null,
    };
    const { headers } = request;
    // An application may have headers of these names. Without the form of a secret, they are the application's.
    const isSecret = (name: string): boolean => /^[0-9a-f]{64}$/.test(String(headers[name]));
    if (!isSecret(SECRET_HEADER) && !isSecret(TRAFFIC_HEADER)) return known;
    const { principal } = await this.guard.openPorts(containerId, { headers, address: clientAddress });
    await this.complete(request, principal, target);
    return { ...known, principal };
  }

  /** E2B's own answers where a sandbox is gone, or its traffic token is missing. */
  async refusalOf(error: unknown, { containerId }: PreviewTarget): Promise<{ status: number; body: object } | null> {
    const refusal = error instanceof DomainError ? REFUSALS[error.kind] : undefined;
    // The visitor gets an answer also if the database does not answer.
    if (!refusal || !(await this.access.portsOf(containerId).catch(() => null))) return null;
    const { status, message } = refusal;
    return { status, body: { code: status, message, sandboxId: containerId } };
  }

  /** Takes the secrets out of a request, and gives one for kernels the container's variables, once they listen. */
  private async complete(request: IncomingMessage, principal: Principal, { containerId, port }: PreviewTarget) {
    without(request, [SECRET_HEADER, TRAFFIC_HEADER, ...(port === CODE_PORT ? [ENVIRONMENT_HEADER] : [])]);
    if (port !== CODE_PORT) return;
    request.rawHeaders.push(ENVIRONMENT_HEADER, await this.code.prepare(principal, containerId));
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
    const { principal, containerId } = await this.guard.openPorts(id, { headers, address: ip });
    await request.onAuthenticated?.(principal, 'link');
    const target = { containerId, port };
    await this.complete(raw, principal, target);
    raw.url = raw.url?.slice(BASE.length);
    reply.hijack();
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

/** An application in the sandbox need not see the secrets that open the sandbox from outside. */
function without({ rawHeaders }: IncomingMessage, names: readonly string[]): void {
  for (let at = rawHeaders.length - 2; at >= 0; at -= 2) {
    if (names.includes(rawHeaders[at]?.toLowerCase() ?? '')) rawHeaders.splice(at, 2);
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
    // A callback, not a promise: every request of the API passes it.
    .addHook('onRequest', (request, reply, done) => {
      const port = request.headers[PORT_HEADER];
      const isOther = port !== undefined && port !== String(ENVD_PORT) && request.url.startsWith(`${BASE}/`);
      if (!isOther) done();
      // What passes on is answered there, so the request's own routes never see it.
      else ports.pass(request, reply).catch(done);
    });
}

import { Body, Controller, Delete, Get, HttpCode, Param, Post, Put, Query, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Audited, AuditedLook } from '../audit';
import { CurrentPrincipal, ForContainerTokens, type Principal, Scopes } from '../auth';
import { SnapshotsService, TemplatesService } from '../containers';
import { ConnectionEnd } from '../http';
import { ImageCatalog } from '../images';
import * as dto from './control.dto';
import { E2bError, E2bRoutes } from './e2b-error';
import { UUID } from './sandbox-access';
import { SandboxMetrics } from './sandbox-metrics';
import { E2bSandboxes, ENVD_VERSION, imageOf } from './sandboxes';

const SNAPSHOT_MS = 120_000;

/** What E2B has and Berth has not. */
const MISSING = ['volumes', 'volumes/:id', 'secrets', 'secrets/:id'];

function missing({ url }: FastifyRequest): E2bError {
  return url.includes('/volumes')
    ? new E2bError(501, 'there are no volumes: keep files in the sandbox, or in a snapshot')
    : new E2bError(501, 'there are no secrets: pass them in envVars, which are stored encrypted');
}

/** E2B's control API: the requests of its SDKs. */
@ApiExcludeController()
@E2bRoutes({ takesApiKey: true })
@Controller('e2b')
export class E2bController {
  constructor(
    private readonly sandboxes: E2bSandboxes,
    private readonly snapshots: SnapshotsService,
    private readonly templates: TemplatesService,
    private readonly images: ImageCatalog,
    private readonly usage: SandboxMetrics,
  ) {}

  @Post(['sandboxes', 'v2/sandboxes'])
  @Scopes('write', 'exec')
  @Audited('container.create')
  create(
    @CurrentPrincipal() caller: Principal,
    @Body() body: dto.NewSandboxDto,
    @ConnectionEnd() signal: AbortSignal,
  ): Promise<object> {
    return this.sandboxes.create(caller, body, signal);
  }

  @Get(['sandboxes', 'v2/sandboxes'])
  @ForContainerTokens()
  @Scopes('read')
  async list(
    @CurrentPrincipal() caller: Principal,
    @Query() query: dto.ListDto,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<object[]> {
    const { items, next } = await this.sandboxes.list(caller, query);
    if (next !== null) reply.header('x-next-token', next);
    return items;
  }

  @Get('sandboxes/:id')
  @ForContainerTokens()
  @Scopes('read', 'exec')
  get(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<object> {
    return this.sandboxes.get(caller, id);
  }

  @Delete('sandboxes/:id')
  @HttpCode(204)
  @ForContainerTokens()
  @Scopes('write')
  @Audited('container.delete')
  kill(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<void> {
    return this.sandboxes.kill(caller, id);
  }

  @Post('sandboxes/:id/timeout')
  @HttpCode(204)
  @ForContainerTokens()
  @Scopes('write')
  @Audited('container.update')
  timeout(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Body() { timeout }: dto.TimeoutDto,
  ): Promise<void> {
    return this.sandboxes.setTimeout(caller, id, timeout);
  }

  @Post('sandboxes/:id/refreshes')
  @HttpCode(204)
  @ForContainerTokens()
  @Scopes('write')
  @Audited('container.update')
  refresh(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Body() { duration }: dto.RefreshDto,
  ): Promise<void> {
    return this.sandboxes.extend(caller, id, duration);
  }

  @Post(['sandboxes/:id/connect', 'v2/sandboxes/:id/connect', 'sandboxes/:id/resume'])
  @ForContainerTokens()
  @Scopes('write', 'exec')
  @Audited('container.resume')
  async connect(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Body() body: dto.ConnectDto,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<object> {
    const { resumed, view } = await this.sandboxes.connect(caller, id, body);
    reply.status(resumed ? 201 : 200);
    return view;
  }

  @Post('sandboxes/:id/pause')
  @HttpCode(204)
  @ForContainerTokens()
  @Scopes('write')
  @Audited('container.pause')
  pause(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Body() { memory }: dto.PauseDto,
  ): Promise<void> {
    return this.sandboxes.pause(caller, id, memory);
  }

  @Post('sandboxes/:id/fork')
  @ForContainerTokens()
  @Scopes('write', 'exec')
  @Audited('container.fork')
  fork(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Body() body: dto.ForkDto,
    @ConnectionEnd() signal: AbortSignal,
  ): Promise<object[]> {
    return this.sandboxes.fork(caller, id, body, signal);
  }

  @Put('sandboxes/:id/network')
  @HttpCode(204)
  @ForContainerTokens()
  @Scopes('write')
  @Audited('container.update')
  network(@CurrentPrincipal() caller: Principal, @Param('id') id: string, @Body() body: dto.NetworkDto): Promise<void> {
    return this.sandboxes.setNetwork(caller, id, body);
  }

  @Post('sandboxes/:id/snapshots')
  @ForContainerTokens()
  @Scopes('write')
  @Audited('snapshot.create')
  async snapshot(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Body() { name }: dto.SnapshotDto,
    @ConnectionEnd() signal: AbortSignal,
  ): Promise<object> {
    await this.sandboxes.find(caller, id);
    const made = await this.snapshots.create(caller, id, name === undefined ? {} : { name });
    const ready = await this.snapshots.wait(caller, made.id, { timeoutMs: SNAPSHOT_MS, signal });
    return { snapshotID: ready.id, names: [ready.name] };
  }

  @Get('snapshots')
  @ForContainerTokens()
  @Scopes('read')
  async listSnapshots(
    @CurrentPrincipal() caller: Principal,
    @Query() { sandboxID, name, limit, nextToken }: dto.ListSnapshotsQuery,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<object[]> {
    if (sandboxID !== undefined && !UUID.test(sandboxID)) return [];
    const page = await this.snapshots.list(caller, {
      ...(sandboxID !== undefined && { container: sandboxID }),
      ...(limit !== undefined && { limit }),
      ...(nextToken !== undefined && { cursor: nextToken }),
    });
    if (page.next_cursor !== null) reply.header('x-next-token', page.next_cursor);
    const found = page.snapshots.filter((snapshot) => name === undefined || snapshot.name === name);
    return found.map((snapshot) => ({ snapshotID: snapshot.id, names: [snapshot.name] }));
  }

  @Delete('templates/:id')
  @HttpCode(204)
  @ForContainerTokens()
  @Scopes('write')
  @Audited('snapshot.delete')
  async deleteSnapshot(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<void> {
    if (!UUID.test(id)) throw new E2bError(404, 'only snapshots are deleted here; administrators delete templates');
    await this.snapshots.delete(caller, id);
  }

  @Get('templates')
  @Scopes('read')
  async listTemplates(): Promise<object[]> {
    const { templates } = await this.templates.list();
    const names = [...(await this.images.list()), ...templates].map(({ name }) => name);
    return names.map((name) => ({
      templateID: name,
      aliases: [name],
      names: [name],
      public: true,
      envdVersion: ENVD_VERSION,
    }));
  }

  @Get('templates/aliases/:alias')
  @Scopes('read')
  async alias(@Param('alias') alias: string): Promise<object> {
    const name = imageOf(alias);
    if (this.images.find(name) === undefined) await this.templates.get(name);
    return { templateID: alias, public: true };
  }

  @Post(['templates', 'v2/templates', 'v3/templates'])
  @Scopes('read')
  buildTemplate(): never {
    throw new E2bError(501, 'templates are not built here: make a snapshot, or let an administrator put a template');
  }

  // Not by `@All()`: Nest gives such routes no options, and so neither E2B's keys nor its form of errors.
  @Get(MISSING)
  @Scopes('read')
  getMissing(@Req() request: FastifyRequest): never {
    throw missing(request);
  }

  @Post(MISSING)
  @Scopes('read')
  postMissing(@Req() request: FastifyRequest): never {
    throw missing(request);
  }

  @Delete(MISSING)
  @Scopes('read')
  deleteMissing(@Req() request: FastifyRequest): never {
    throw missing(request);
  }

  @Get('sandboxes/:id/metrics')
  @ForContainerTokens()
  @Scopes('read', 'exec')
  @AuditedLook('container.stats', { polls: 'all' })
  async metrics(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Query() interval: dto.MetricsQuery,
  ): Promise<object[]> {
    await this.sandboxes.find(caller, id);
    return this.usage.between(caller, id, interval);
  }

  @Get(['sandboxes/:id/logs', 'v2/sandboxes/:id/logs'])
  @ForContainerTokens()
  @Scopes('read')
  async logs(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<never> {
    await this.sandboxes.find(caller, id);
    throw new E2bError(501, 'there is no log of a sandbox: read the output of its processes');
  }
}

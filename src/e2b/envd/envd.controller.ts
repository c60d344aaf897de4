import { Code, ConnectError, type ConnectRouter, createContextValues, type Interceptor } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { Controller, Get, HttpCode, Post, Query, Req, Res, UseGuards } from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';
import { ApiExcludeController } from '@nestjs/swagger';
import { IsOptional, IsString, MaxLength } from 'class-validator';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { IncomingMessage } from 'node:http';
import { Audited, AuditedLook } from '../../audit';
import { Public } from '../../auth';
import { ContainersService } from '../../containers';
import { DomainError } from '../../errors';
import { BodyStream, ConnectionEnd, StreamedBody, StreamsBody } from '../../http';
import { FilesService } from '../../sandbox';
import { E2bRoutes } from '../e2b-error';
import { SandboxMetrics, secondsOf } from '../sandbox-metrics';
import { callOfRequest, connectError, connectForm, EXCHANGE, type Exchange, routeError } from './envd-call';
import { EnvdGuard } from './envd.guard';
import { FileUploads } from './file-uploads';
import { FilesystemService, pathIn } from './filesystem-service';
import { Filesystem } from './generated/filesystem_pb';
import { Process } from './generated/process_pb';
import { ProcessService } from './process-service';

/** The largest message of a client, in bytes, and of an answer: the entries of a large directory. */
const MOST_MESSAGE_BYTES = 1024 * 1024;
const MOST_ANSWER_BYTES = 16 * 1024 * 1024;
/** Operations at whose end the sandbox does not run. */
const ENDING: readonly string[] = [
  'stop',
  'pause',
  'delete',
  'expire',
  'lifetime',
  'idle',
  'suspend',
  'idle_pause',
  'auto_delete',
];

/** The longest deadline that a client may ask for. */
const MOST_TIMEOUT_MS = 24 * 3_600_000;

type Request = Parameters<ReturnType<Interceptor>>[0];

/** A route that Connect answers. */
const Rpc = (): MethodDecorator => (target, name, descriptor: PropertyDescriptor) =>
  RouteConfig({ streamsBody: true, errorForm: connectForm })(target, name, descriptor);

/** The query of `/files`, with what a signed address has beside its path. */
class FilesQuery {
  @IsOptional()
  @IsString()
  @MaxLength(4_095)
  path?: string;

  @IsOptional()
  @IsString()
  @MaxLength(255)
  username?: string;

  @IsOptional()
  @IsString()
  signature?: string;

  @IsOptional()
  @IsString()
  signature_expiration?: string;
}

/** What a sandbox's envd answers: Connect's services, files, health and statistics. */
@ApiExcludeController()
@E2bRoutes({ takesApiKey: false })
@Public()
@UseGuards(EnvdGuard)
@Controller('e2b')
export class EnvdController {
  private readonly connect: ReturnType<typeof connectNodeAdapter>;
  /** The calls of requests that Connect answers, and the errors with which it did. */
  private readonly exchanges = new WeakMap<IncomingMessage, Exchange>();

  constructor(
    private readonly processes: ProcessService,
    private readonly filesystem: FilesystemService,
    private readonly uploads: FileUploads,
    private readonly files: FilesService,
    private readonly containers: ContainersService,
    private readonly metricsOf: SandboxMetrics,
  ) {
    this.connect = connectNodeAdapter({
      routes: (router: ConnectRouter) => {
        router.service(Process, this.processes.handlers);
        router.service(Filesystem, this.filesystem.handlers);
      },
      requestPathPrefix: '/e2b',
      grpc: false,
      grpcWeb: false,
      readMaxBytes: MOST_MESSAGE_BYTES,
      writeMaxBytes: MOST_ANSWER_BYTES,
      maxTimeoutMs: MOST_TIMEOUT_MS,
      interceptors: [translateErrors],
      contextValues: (request) => {
        const values = createContextValues();
        return values.set(EXCHANGE, this.exchanges.get(request as IncomingMessage) ?? null);
      },
    });
  }

  @Post('process.Process/Start')
  @Rpc()
  @Audited('process.start')
  start(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    return this.rpc(request, reply);
  }

  @Post(['process.Process/List', 'process.Process/Connect'])
  @Rpc()
  @AuditedLook('process.list')
  look(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    return this.rpc(request, reply);
  }

  @Post(['SendInput', 'StreamInput', 'CloseStdin', 'Update'].map((method) => `process.Process/${method}`))
  @Rpc()
  @Audited('process.write')
  input(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    return this.rpc(request, reply);
  }

  @Post('process.Process/SendSignal')
  @Rpc()
  @Audited('process.signal')
  signal(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    return this.rpc(request, reply);
  }

  @Post(
    ['Stat', 'ListDir', 'WatchDir', 'CreateWatcher', 'GetWatcherEvents', 'RemoveWatcher'].map(
      (method) => `filesystem.Filesystem/${method}`,
    ),
  )
  @Rpc()
  @AuditedLook('container.file_list')
  lookAtFiles(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    return this.rpc(request, reply);
  }

  @Post('filesystem.Filesystem/MakeDir')
  @Rpc()
  @Audited('container.file_mkdir')
  makeDir(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    return this.rpc(request, reply);
  }

  @Post('filesystem.Filesystem/Move')
  @Rpc()
  @Audited('container.file_move')
  move(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    return this.rpc(request, reply);
  }

  @Post('filesystem.Filesystem/Remove')
  @Rpc()
  @Audited('container.file_delete')
  remove(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    return this.rpc(request, reply);
  }

  @Get('files')
  @Audited('container.file_read')
  async download(
    @Query() { path = '' }: FilesQuery,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
    @ConnectionEnd() gone: AbortSignal,
  ): Promise<void> {
    const call = callOfRequest(request);
    const target = pathIn(call, path, 'path');
    const inside = { caller: call.principal, id: call.containerId, gone };
    await orRouteError(this.files.download(inside, target.bytes, { request, reply }));
  }

  @Post('files')
  @HttpCode(200)
  @StreamsBody({ gzip: true })
  @Audited('container.file_write')
  upload(
    @Query() { path }: FilesQuery,
    @Req() request: FastifyRequest,
    @StreamedBody() body: BodyStream,
  ): Promise<object[]> {
    return orRouteError(this.uploads.write(request, path, body));
  }

  @Get('health')
  @HttpCode(204)
  async health(@Req() request: FastifyRequest): Promise<void> {
    const { principal, containerId } = callOfRequest(request);
    const { status, operation } = await this.containers.find(principal, containerId);
    // A client whose stream broke off asks while the sandbox is still being ended.
    const isEnding = operation !== null && ENDING.includes(operation);
    if (status !== 'running' || isEnding) throw routeError(new DomainError('container_not_running'));
  }

  @Get('envs')
  @AuditedLook('process.show')
  envs(@Req() request: FastifyRequest): Promise<object> {
    const { principal, containerId } = callOfRequest(request);
    const variables = this.containers.inside(principal, containerId, ({ environment }) =>
      Promise.resolve(environment({})),
    );
    return orRouteError(variables);
  }

  @Get('metrics')
  @AuditedLook('container.stats')
  metrics(@Req() request: FastifyRequest): Promise<object> {
    const { principal, containerId } = callOfRequest(request);
    const read = async (): Promise<object> => {
      const now = await this.metricsOf.current(principal, containerId);
      return {
        ts: secondsOf(now.at),
        cpu_count: now.cpuCount,
        cpu_used_pct: now.cpuUsedPct,
        mem_used: now.memUsed,
        mem_total: now.memTotal,
        disk_used: now.diskUsed,
        disk_total: now.diskTotal,
      };
    };
    return orRouteError(read());
  }

  /** Has Connect answer. An error is in the answer already; it is thrown for the audit and the log. */
  private async rpc(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const { raw, streamedType } = request;
    const exchange: Exchange = { call: callOfRequest(request), breakOff: () => reply.raw.destroy() };
    this.exchanges.set(raw, exchange);
    // As it came: `@StreamsBody()` selects its parser by another type.
    if (streamedType !== undefined) raw.headers['content-type'] = streamedType;
    reply.hijack();
    for (const [name, value] of Object.entries(reply.getHeaders())) {
      if (value !== undefined) reply.raw.setHeader(name, value);
    }
    const ended = new Promise<void>((resolve) => reply.raw.once('close', resolve));
    this.connect(raw, reply.raw);
    await ended;
    if (exchange.fault) throw exchange.fault;
  }
}

/** Gives Berth's errors Connect's form, in unary calls and in the course of streams. */
const translateErrors: Interceptor = (next) => async (request) => {
  try {
    const answer = await next(request);
    return answer.stream ? { ...answer, message: translated(answer.message, request) } : answer;
  } catch (error) {
    throw translate(error, request);
  }
};

async function* translated<T>(messages: AsyncIterable<T>, request: Request): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (error) {
    const fault = translate(error, request);
    // The sandbox has ended, and its envd with it: clients then ask for its health, and say so.
    if (fault.code === Code.Unavailable) request.contextValues.get(EXCHANGE)?.breakOff();
    throw fault;
  }
}

function translate(error: unknown, { contextValues }: Request): ConnectError {
  const exchange = contextValues.get(EXCHANGE);
  // Connect's own errors are those of its protocol, and of clients that have gone.
  if (exchange && error instanceof Error && !(error instanceof ConnectError)) exchange.fault = error;
  return connectError(error);
}

async function orRouteError<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw routeError(error);
  }
}

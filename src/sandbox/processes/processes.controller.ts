import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query, Req, Res } from '@nestjs/common';
import {
  ApiCreatedResponse,
  ApiExtraModels,
  ApiHeader,
  ApiOkResponse,
  ApiOperation,
  ApiResponse,
  ApiTags,
  getSchemaPath,
} from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Audited, AuditedLook } from '../../audit';
import { CurrentPrincipal, ForContainerTokens, type Principal, Scopes } from '../../auth';
import { eventStream, Location } from '../../http';
import { RefusesIdempotencyKey } from '../../idempotency';
import { ApiInside, RESUMING } from '../access/inside-errors';
import {
  OutputChunkView,
  OutputGapView,
  ProcessExitView,
  ProcessListView,
  ProcessMessageView,
  ProcessOutputView,
  ProcessView,
  processView,
  ReadOutputDto,
  SendSignalDto,
  StartProcessDto,
  WriteInputDto,
} from './dto';
import { ProcessAnswers } from './process-answers';
import { BackgroundProcesses } from './background-processes';

/** Processes in containers that outlive the requests that start them. */
@ApiTags('inside containers')
@ForContainerTokens()
@Controller('containers/:id/processes')
@Scopes('exec')
export class ProcessesController {
  constructor(
    private readonly processes: BackgroundProcesses,
    private readonly answers: ProcessAnswers,
  ) {}

  @Post()
  @RefusesIdempotencyKey()
  @Audited('process.start')
  @Location<ProcessView>((made, { id = '' }) => `/api/containers/${encodeURIComponent(id)}/processes/${made.id}`)
  @ApiOperation({ summary: 'Start a process in the background' })
  @ApiCreatedResponse({ type: ProcessView })
  @ApiInside(...RESUMING, 'container_not_running', 'process_limit_reached', 'command_not_started', 'command_failed')
  async start(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Body() { command, cwd, env, user, tty }: StartProcessDto,
  ): Promise<ProcessView> {
    const more = { cwd: cwd ?? undefined, env: env ?? undefined, user: user ?? undefined, terminal: tty ?? false };
    return processView(await this.processes.start(caller, id, { command, ...more }));
  }

  @Get()
  @AuditedLook('process.list')
  @ApiOperation({ summary: 'List processes of a container, oldest first, including recently ended ones' })
  @ApiOkResponse({ type: ProcessListView })
  @ApiInside()
  async list(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<ProcessListView> {
    const processes = (await this.processes.list(caller, id)).map(processView);
    return { processes, count: processes.length };
  }

  @Get(':pid')
  @AuditedLook('process.show')
  @ApiOperation({ summary: 'Get a process' })
  @ApiOkResponse({ type: ProcessView })
  @ApiInside('process_not_found')
  async get(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Param('pid') processId: string,
  ): Promise<ProcessView> {
    return processView(await this.processes.find(caller, id, processId));
  }

  @Get(':pid/output')
  @AuditedLook('process.read')
  @ApiOperation({
    summary: 'Get or stream the output of a process',
    description:
      'The last 1 MiB is stored. With "Accept: text/event-stream", sends Server-Sent Events: "output" ({ stream, ' +
      'offset, data, and time with "times" }) as it is written, with the next offset as its id; "gap" ({ offset }) if earlier output is ' +
      'no longer stored; and finally "exit" ({ exit_code, reason, exited_at }).',
  })
  @ApiHeader({
    name: 'Last-Event-ID',
    required: false,
    schema: { type: 'integer', minimum: 0 },
    description: 'Last id received; takes precedence over "after".',
  })
  @ApiExtraModels(ProcessOutputView, OutputChunkView, OutputGapView, ProcessExitView)
  @ApiResponse({
    status: 200,
    content: {
      'application/json': { schema: { $ref: getSchemaPath(ProcessOutputView) } },
      ...eventStream({
        output: { $ref: getSchemaPath(OutputChunkView) },
        gap: { $ref: getSchemaPath(OutputGapView) },
        exit: { $ref: getSchemaPath(ProcessExitView) },
      }),
    },
  })
  @ApiInside('process_not_found', 'container_not_running', 'command_failed', 'too_many_connections')
  output(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Param('pid') processId: string,
    @Query() query: ReadOutputDto,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    return this.answers.output({ caller, id, processId, query, request, reply });
  }

  @Post(':pid/stdin')
  @HttpCode(200)
  @RefusesIdempotencyKey()
  @Audited('process.write')
  @ApiOperation({ summary: 'Write to the standard input of a process, or close it' })
  @ApiOkResponse({ type: ProcessMessageView })
  @ApiInside(...RESUMING, 'process_not_found', 'process_ended', 'stdin_closed', 'stdin_full', 'command_failed')
  async write(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Param('pid') processId: string,
    @Body() { data, encoding, close }: WriteInputDto,
  ): Promise<ProcessMessageView> {
    const input = { data: Buffer.from(data ?? '', encoding ?? 'utf-8'), close: close ?? false };
    await this.processes.write(caller, id, { processId, ...input });
    return { message: 'input written', id: processId };
  }

  @Post(':pid/signal')
  @HttpCode(200)
  @RefusesIdempotencyKey()
  @Audited('process.signal')
  @ApiOperation({ summary: 'Send a signal to a process and its child processes' })
  @ApiOkResponse({ type: ProcessMessageView })
  @ApiInside(...RESUMING, 'process_not_found', 'process_ended', 'command_not_started', 'command_failed')
  async signal(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Param('pid') processId: string,
    @Body() { signal }: SendSignalDto,
  ): Promise<ProcessMessageView> {
    await this.processes.signal(caller, id, processId, signal);
    return { message: 'signal sent', id: processId };
  }

  @Delete(':pid')
  @Audited('process.end')
  @ApiOperation({ summary: 'Terminate a process and its child processes, or remove one that has ended' })
  @ApiOkResponse({ type: ProcessMessageView })
  @ApiInside(...RESUMING, 'process_not_found', 'command_not_started', 'command_failed')
  async end(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Param('pid') processId: string,
  ): Promise<ProcessMessageView> {
    await this.processes.end(caller, id, processId);
    return { message: 'process ended', id: processId };
  }
}

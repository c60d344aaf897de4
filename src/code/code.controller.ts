import { Body, Controller, Get, HttpCode, Param, Post, Query, Req, Res } from '@nestjs/common';
import { ApiExtraModels, ApiOperation, ApiResponse, ApiTags, getSchemaPath } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Audited, AuditedLook } from '../audit';
import { CurrentPrincipal, ForContainerTokens, type Principal, Scopes } from '../auth';
import { ConnectionEnd, eventStream } from '../http';
import { RefusesIdempotencyKey } from '../idempotency';
import { ApiInside, CommandFailureView, CommandOutputView, RESUMING } from '../sandbox';
import { CodeAnswers } from './code-answers';
import { CodeRunner } from './code-runner';
import * as dto from './dto';

const FAULTS = [...RESUMING, 'container_not_running', 'code_unavailable', 'too_many_commands', 'code_failed'] as const;
const EVENTS = {
  started: dto.CodeStartView,
  output: CommandOutputView,
  result: dto.CodeShownView,
  exception: dto.CodeExceptionView,
  end: dto.CodeEndView,
  failed: CommandFailureView,
} as const;
const refTo = (view: (typeof EVENTS)[keyof typeof EVENTS] | typeof dto.CodeResultView) => ({
  $ref: getSchemaPath(view),
});
const ANSWER = {
  'application/json': { schema: refTo(dto.CodeResultView) },
  ...eventStream(Object.fromEntries(Object.entries(EVENTS).map(([name, view]) => [name, refTo(view)]))),
};

/** Runs code in containers of the image `code`. */
@ApiTags('inside containers')
@ApiExtraModels(dto.CodeResultView, ...Object.values(EVENTS))
@ForContainerTokens()
@Controller('containers/:id/run-code')
export class CodeController {
  constructor(
    private readonly answers: CodeAnswers,
    private readonly runner: CodeRunner,
  ) {}

  @Post()
  @HttpCode(200)
  @Scopes('exec')
  @RefusesIdempotencyKey()
  @Audited('container.exec')
  @ApiOperation({
    summary: 'Run code and wait for it to finish',
    description:
      'In a kernel that keeps its variables, in containers of the image `code`. With "Accept: text/event-stream", ' +
      'sends Server-Sent Events as things happen: "started", "output", "result", "exception", then "end", or ' +
      '"failed" with an error. An exception of the code is an answer with 200. On a timeout or a client disconnect, ' +
      'the code is interrupted, unless it is detached.',
  })
  @ApiResponse({ status: 200, description: 'The code has finished, or begun if it is detached.', content: ANSWER })
  @ApiInside(...FAULTS, 'code_refused')
  run(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Body() body: dto.RunCodeDto,
    @ConnectionEnd() signal: AbortSignal,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const call = { caller, signal, request, reply };
    const waits = body.detached !== true;
    return this.answers.answer(call, (client) => this.runner.run(caller, id, body, client), { waits });
  }

  @Get(':execution')
  @Scopes('exec')
  @AuditedLook('process.read')
  @ApiOperation({
    summary: 'Read what a run of code has written, and wait for it to finish',
    description:
      'The container keeps the last 64 runs, of each the last 16 MiB, until it stops or is recreated. Event ids are ' +
      'offsets for "after". A client disconnect does not interrupt the code.',
  })
  @ApiResponse({ status: 200, description: 'The code has finished.', content: ANSWER })
  @ApiInside(...FAULTS, 'execution_not_found')
  follow(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Param('execution') execution: string,
    @Query() { after = 0 }: dto.FollowCodeQuery,
    @ConnectionEnd() signal: AbortSignal,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const call = { caller, signal, request, reply };
    return this.answers.answer(call, (client) => this.runner.follow(caller, id, { execution, after }, client));
  }
}

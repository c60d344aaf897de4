import { Body, Controller, Get, HttpCode, Param, Post, Query, Req, Res } from '@nestjs/common';
import { ApiExtraModels, ApiOperation, ApiResponse, ApiTags, getSchemaPath } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Audited, AuditedLook } from '../audit';
import { CurrentPrincipal, type Principal, Scopes } from '../auth';
import { ConnectionEnd, eventStream } from '../http';
import { RefusesIdempotencyKey } from '../idempotency';
import { ApiInside, CommandFailureView, CommandOutputView, RESUMING } from '../sandbox';
import { CodeAnswers } from './code-answers';
import {
  CodeEndView,
  CodeExceptionView,
  CodeResultView,
  CodeShownView,
  CodeStartView,
  FollowCodeQuery,
  RunCodeDto,
} from './dto';

const FAULTS = [
  ...RESUMING,
  'container_not_running',
  'code_unavailable',
  'too_many_commands',
  'application_failed',
] as const;

const ANSWER = {
  'application/json': { schema: { $ref: getSchemaPath(CodeResultView) } },
  ...eventStream({
    started: { $ref: getSchemaPath(CodeStartView) },
    output: { $ref: getSchemaPath(CommandOutputView) },
    result: { $ref: getSchemaPath(CodeShownView) },
    exception: { $ref: getSchemaPath(CodeExceptionView) },
    end: { $ref: getSchemaPath(CodeEndView) },
    failed: { $ref: getSchemaPath(CommandFailureView) },
  }),
};

/** Runs code in containers of the image `code`. */
@ApiTags('inside containers')
@ApiExtraModels(CodeResultView, CodeStartView, CommandOutputView, CodeShownView, CodeExceptionView, CodeEndView)
@ApiExtraModels(CommandFailureView)
@Controller('containers/:id/run-code')
export class CodeController {
  constructor(private readonly answers: CodeAnswers) {}

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
    @Body() body: RunCodeDto,
    @ConnectionEnd() signal: AbortSignal,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    return this.answers.run({ caller, id, signal, request, reply }, body);
  }

  @Get(':execution')
  @Scopes('exec')
  @AuditedLook('process.read')
  @ApiOperation({
    summary: 'Read what a run of code has written, and wait for it to finish',
    description:
      'The container keeps the last 64 runs, of each at least 16 MiB, until it stops or is recreated. Event ids are ' +
      'offsets for "after". A client disconnect does not interrupt the code.',
  })
  @ApiResponse({ status: 200, description: 'The code has finished.', content: ANSWER })
  @ApiInside(...FAULTS, 'execution_not_found')
  follow(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Param('execution') execution: string,
    @Query() { after = 0 }: FollowCodeQuery,
    @ConnectionEnd() signal: AbortSignal,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    return this.answers.follow({ caller, id, signal, request, reply }, { execution, after });
  }
}

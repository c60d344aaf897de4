import { Body, Controller, HttpCode, Param, Post, Req, Res } from '@nestjs/common';
import { ApiExtraModels, ApiOperation, ApiResponse, ApiTags, getSchemaPath } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Audited } from '../../audit';
import { CurrentPrincipal, type Principal, Scopes } from '../../auth';
import { ApiContainerById } from '../../containers';
import { ConnectionEnd, eventStream } from '../../http';
import { RefusesIdempotencyKey } from '../../idempotency';
import { CommandAnswers } from './command-answers';
import { CommandEndView, CommandFailureView, CommandOutputView, CommandResultView, RunCommandDto } from './dto';

/** Commands in containers that a request waits for. */
@ApiTags('inside containers')
@Controller('containers/:id/exec')
export class CommandsController {
  constructor(private readonly answers: CommandAnswers) {}

  @Post()
  @HttpCode(200)
  @Scopes('exec')
  @RefusesIdempotencyKey()
  @Audited('container.exec')
  @ApiOperation({
    summary: 'Run a command in a running container and wait for its end',
    description:
      'With "Accept: text/event-stream" as Server-Sent Events: "output" ({ stream, data }) as it comes, then "result", the answer ' +
      'without the outputs; in its place "failed", with an error as everywhere, where it went wrong after the start. A timeout, and ' +
      'a client that goes, end the command with all that it started.',
  })
  @ApiExtraModels(CommandEndView, CommandFailureView, CommandOutputView, CommandResultView)
  @ApiResponse({
    status: 200,
    description: 'The command has ended, whatever its exit code.',
    content: {
      'application/json': { schema: { $ref: getSchemaPath(CommandResultView) } },
      ...eventStream({
        output: { $ref: getSchemaPath(CommandOutputView) },
        result: { $ref: getSchemaPath(CommandEndView) },
        failed: { $ref: getSchemaPath(CommandFailureView) },
      }),
    },
  })
  @ApiContainerById(
    'invalid_parameters',
    'guest_session_expired',
    'exec_not_allowed',
    'container_not_running',
    'command_not_started',
    'too_many_commands',
    'command_failed',
  )
  run(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Body() body: RunCommandDto,
    @ConnectionEnd() signal: AbortSignal,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    return this.answers.answer({ caller, id, body, signal, request, reply });
  }
}

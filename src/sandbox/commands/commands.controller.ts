import { Body, Controller, HttpCode, Param, Post, Req, Res } from '@nestjs/common';
import { ApiExtraModels, ApiOperation, ApiResponse, ApiTags, getSchemaPath } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Audited } from '../../audit';
import { CurrentPrincipal, type Principal, Scopes } from '../../auth';
import { type BodyStream, ConnectionEnd, eventStream, StreamedBody, StreamsBody } from '../../http';
import { RefusesIdempotencyKey } from '../../idempotency';
import { ApiInside, RESUMING } from '../access/api-inside';
import { CommandResponder } from './command-responder';
import {
  CommandEndView,
  CommandFailureView,
  CommandOutputView,
  CommandResultView,
  RunCommandDto,
  StreamCommandDto,
} from './dto';

/** Errors of a command, whether its input is in the body or streamed. */
const FAULTS = [
  ...RESUMING,
  'container_not_running',
  'command_not_started',
  'too_many_commands',
  'command_failed',
] as const;

const MESSAGES = eventStream({
  output: { $ref: getSchemaPath(CommandOutputView) },
  result: { $ref: getSchemaPath(CommandEndView) },
  failed: { $ref: getSchemaPath(CommandFailureView) },
});

/** Runs commands in containers; the request waits for the command's end. */
@ApiTags('inside containers')
@Controller('containers/:id/exec')
export class CommandsController {
  constructor(private readonly answers: CommandResponder) {}

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
      ...MESSAGES,
    },
  })
  @ApiInside(...FAULTS)
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

  @Post('stream')
  @HttpCode(200)
  @StreamsBody({ firstLine: StreamCommandDto })
  @Scopes('exec')
  @RefusesIdempotencyKey()
  @Audited('container.exec')
  @ApiOperation({
    summary: 'Run a command in a running container, with an input and an output of any length',
    description:
      'The body is a line of JSON, a StreamCommandDto, and after its line feed the input of the command as it is; its end is the end ' +
      'of the input. The answer begins when the command has started, while the body still comes: "output" ({ stream, data }, in ' +
      'Base64) as it comes, then "result", or "failed" in its place. The command waits for a client that does not read, and the ' +
      'client for a command that does not. A timeout, and a client that goes, end the command with all that it started.',
    requestBody: {
      required: true,
      content: {
        'application/octet-stream': { schema: { type: 'string', format: 'binary' } },
        // The line without a rest is a command without an input.
        'application/x-ndjson': { schema: { $ref: getSchemaPath(StreamCommandDto) } },
      },
    },
  })
  @ApiExtraModels(StreamCommandDto)
  @ApiResponse({ status: 200, description: 'The command has started.', content: MESSAGES })
  @ApiInside(...FAULTS, 'body_too_large')
  stream(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @StreamedBody() body: BodyStream,
    @ConnectionEnd() signal: AbortSignal,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    return this.answers.answerStream({ caller, id, signal, request, reply }, body);
  }
}

import { Body, Controller, HttpCode, Param, Post, Req, Res } from '@nestjs/common';
import { ApiExtraModels, ApiOperation, ApiResponse, ApiTags, getSchemaPath } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Audited } from '../../audit';
import { CurrentPrincipal, ForContainerTokens, type Principal, Scopes } from '../../auth';
import { type BodyStream, ConnectionEnd, eventStream, StreamedBody, StreamsBody } from '../../http';
import { RefusesIdempotencyKey } from '../../idempotency';
import { ApiInside, RESUMING } from '../access/inside-errors';
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
@ForContainerTokens()
@Controller('containers/:id/exec')
export class CommandsController {
  constructor(private readonly answers: CommandResponder) {}

  @Post()
  @HttpCode(200)
  @Scopes('exec')
  @RefusesIdempotencyKey()
  @Audited('container.exec')
  @ApiOperation({
    summary: 'Run a command and wait for it to finish',
    description:
      'With "Accept: text/event-stream", sends Server-Sent Events: "output" ({ stream, data }) as it is written, ' +
      'then "result", the response without the output, or "failed" with an error if something went wrong after the ' +
      'start. On a timeout or a client disconnect, the command and its child processes are terminated.',
  })
  @ApiExtraModels(CommandEndView, CommandFailureView, CommandOutputView, CommandResultView)
  @ApiResponse({
    status: 200,
    description: 'The command has finished, with any exit code.',
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
    summary: 'Run a command with streamed input and output',
    description:
      'The body is one line of JSON, a StreamCommandDto, and after the line feed the raw input of the command; the ' +
      'end of the body is the end of the input. The response begins when the command has started, while the body ' +
      'is still being sent: "output" ({ stream, data }, Base64-encoded) as it is written, then "result" or ' +
      '"failed". Flow control applies in both directions. On a timeout or a client disconnect, the command and its ' +
      'child processes are terminated.',
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

import { Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Readable } from 'node:stream';
import { OpenConnections, type Principal } from '../../auth';
import { DomainError, errorAnswer } from '../../errors';
import {
  acceptsEvents,
  AnswerStreams,
  type BodyStream,
  createValidationPipe,
  EventStream,
  parseJsonBody,
} from '../../http';
import {
  COMMAND_OUTPUT_BYTES,
  COMMAND_TIMEOUT_MS,
  type CommandEndView,
  type CommandResultView,
  type RunCommandDto,
  StreamCommandDto,
  STREAMED_TIMEOUT_MS,
} from './dto';
import { type CommandEnd, type CommandRequest, Commands } from './commands';
import { CollectedOutput, type OutputEncoding, OutputText } from './output-text';

/** The limit of a JSON body. It exceeds the limit of the command's own bytes, which JSON may escape. */
const MAX_LINE_BYTES = 64 * 1024;

/**
 * Longer than any command's timeout, which therefore applies first: the input may pause for as long as the command
 * runs.
 */
const IDLE_MS = STREAMED_TIMEOUT_MS.max + 60_000;

const LINE_FEED = 0x0a;

/** A request to run a command, with its reply. */
interface Call {
  readonly caller: Principal;
  readonly id: string;
  /** Aborted when the connection has closed. */
  readonly signal: AbortSignal;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

interface CommandCall extends Call {
  readonly body: RunCommandDto;
}

/** See {@link OpenConnections.accessOf}. */
type Access = ReturnType<OpenConnections['accessOf']>;

/** What an event stream is to show. */
interface Streamed {
  readonly request: CommandRequest;
  readonly encoding: OutputEncoding;
  /** The rest is dropped once the command has ended. */
  readonly body?: BodyStream;
}

/** Answers with a command's output and end: as one JSON document, or as an event stream if the client accepts one. */
@Injectable()
export class CommandResponder {
  constructor(
    private readonly commands: Commands,
    private readonly streams: AnswerStreams,
    private readonly connections: OpenConnections,
  ) {}

  /**
   * @throws DomainError as {@link Commands.run}; `unauthorized` if the token ends meanwhile; `exec_not_allowed` if the
   *   user loses exec access meanwhile
   */
  async answer(call: CommandCall): Promise<void> {
    const { body } = call;
    const access = this.accessOf(call);
    try {
      if (!acceptsEvents(call.request)) await this.answerWhole(call, access);
      else await this.stream(call, { request: requestOf(body), encoding: body.encoding ?? 'utf-8' }, access);
    } finally {
      access.leave();
    }
  }

  /** Streams in both directions. The first line of the body is the command; the rest is the command's input. */
  async answerStream(call: Call, body: BodyStream): Promise<void> {
    const access = this.accessOf(call);
    try {
      const streamed = await readStreamedCommand(body);
      const { command, cwd, env, user, timeout_ms: timeoutMs } = streamed.command;
      const request: CommandRequest = {
        command,
        cwd: cwd ?? undefined,
        env: env ?? undefined,
        user: user ?? undefined,
        stdin: streamed.input,
        timeoutMs: timeoutMs ?? STREAMED_TIMEOUT_MS.usual,
        maxOutputBytes: Infinity,
      };
      await this.stream(call, { request, encoding: 'base64', body }, access);
    } finally {
      access.leave();
      body.discard();
    }
  }

  private accessOf({ caller, signal: gone }: Call): Access {
    // This error only reaches the audit: the client that would read it is gone.
    return this.connections.accessOf(caller, {
      gone,
      reason: () => new DomainError('request_timeout', { code: 'client_gone' }),
    });
  }

  private async answerWhole({ caller, id, body, reply }: CommandCall, { signal }: Access): Promise<void> {
    const output = new CollectedOutput();
    const end = await this.commands.run(caller, id, requestOf(body), {
      signal,
      onOutput: (each) => output.take(each),
    });
    const shown = { encoding: body.encoding ?? 'utf-8', isCut: end.truncated } as const;
    const [stdout, stderr] = [output.text('stdout', shown), output.text('stderr', shown)];
    const answer: CommandResultView = Object.assign(endView(end), { exitCode: end.exitCode, stdout, stderr });
    await reply.status(200).send(answer);
  }

  private async stream({ caller, id, request, reply }: Call, asked: Streamed, access: Access): Promise<void> {
    const stream = new EventStream(reply.raw);
    const text = new OutputText(asked.encoding);
    const send = async (output: 'stdout' | 'stderr', data: string): Promise<void> => {
      if (data === '') return;
      stream.send({ type: 'output', payload: { stream: output, data } });
      await stream.drained();
    };
    try {
      const end = await this.commands.run(caller, id, asked.request, {
        signal: access.signal,
        onStarted: () => void this.streams.open(stream, { request, reply }, () => access.leave),
        onOutput: (output) => send(output.stream, text.piece(output)),
      });
      if (!end.truncated) for (const output of ['stdout', 'stderr'] as const) await send(output, text.rest(output));
      stream.send({ type: 'result', payload: endView(end) });
      asked.body?.drop();
      // Waits for a client that reads slowly, so that the result reaches it too.
      await stream.drained();
      await stream.ended();
    } catch (error) {
      if (!reply.raw.headersSent) throw error;
      // The status is sent already, so the error becomes an event.
      stream.send({ type: 'failed', payload: errorAnswer(error, request.id).body });
      asked.body?.drop();
      await stream.ended();
      throw error;
    }
  }
}

/** Null in an optional field means that it is absent. */
function requestOf(body: RunCommandDto): CommandRequest {
  return {
    command: body.command,
    cwd: body.cwd ?? undefined,
    env: body.env ?? undefined,
    user: body.user ?? undefined,
    stdin: body.stdin ?? undefined,
    timeoutMs: body.timeout_ms ?? COMMAND_TIMEOUT_MS.usual,
    maxOutputBytes: body.max_output_bytes ?? COMMAND_OUTPUT_BYTES.usual,
  };
}

function endView({ exitCode, truncated, timedOut, durationMs }: CommandEnd): CommandEndView {
  return { exit_code: exitCode, truncated, timed_out: timedOut, duration_ms: durationMs };
}

/** A command and its streamed input. */
interface StreamedCommand {
  readonly command: StreamCommandDto;
  readonly input: Readable;
}

/**
 * Reads a body whose first line is the command in JSON. All bytes after the line feed, of any length, are the
 * command's input.
 *
 * @throws DomainError `invalid_parameters`; `body_too_large` for the line
 */
async function readStreamedCommand(body: BodyStream): Promise<StreamedCommand> {
  const input = body.read(IDLE_MS);
  // A body that breaks off means that the client is gone, and the end of its connection ends the command.
  input.on('error', () => undefined);
  try {
    const line = await firstLine(input);
    const metatype = StreamCommandDto;
    const asked: unknown = await createValidationPipe().transform(parseJsonBody(line), { type: 'body', metatype });
    return { command: asked as StreamCommandDto, input };
  } catch (error) {
    input.destroy();
    throw error;
  }
}

/**
 * Reads up to the line feed, or to the end of a body that is only one line. The stream continues after the line feed.
 */
async function firstLine(input: Readable): Promise<Buffer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of input.iterator({ destroyOnReturn: false })) {
    const data = chunk as Buffer;
    const end = data.indexOf(LINE_FEED);
    const part = end < 0 ? data : data.subarray(0, end);
    bytes += part.length;
    if (bytes > MAX_LINE_BYTES) throw new DomainError('body_too_large');
    parts.push(part);
    if (end < 0) continue;
    if (end + 1 < data.length) input.unshift(data.subarray(end + 1));
    break;
  }
  return Buffer.concat(parts);
}

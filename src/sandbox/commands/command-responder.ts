import { Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../../auth';
import { DomainError, errorAnswer } from '../../errors';
import { acceptsEvents, AnswerStreams, EventStream } from '../../http';
import type { BodyStream } from '../../http';
import { ExecAccess } from '../access/exec-access';
import { readStreamedCommand } from './command-input';
import {
  COMMAND_OUTPUT_BYTES,
  COMMAND_TIMEOUT_MS,
  type CommandEndView,
  type CommandResultView,
  type RunCommandDto,
  STREAMED_TIMEOUT_MS,
} from './dto';
import { type CommandEnd, type CommandRequest, Commands } from './commands';
import { CollectedOutput, type OutputEncoding, OutputText } from './output-text';

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
    private readonly rights: ExecAccess,
  ) {}

  /**
   * @throws DomainError as {@link Commands.run}; `unauthorized` if the token ends meanwhile; `exec_not_allowed` if the
   *   user loses exec access meanwhile
   */
  async answer(call: CommandCall): Promise<void> {
    const { body, request } = call;
    await this.during(call, async (over) => {
      if (!acceptsEvents(request)) await this.answerWhole(call, over);
      else await this.stream(call, { request: requestOf(body), encoding: body.encoding ?? 'utf-8' }, over);
    });
  }

  /** Streams in both directions. The first line of the body is the command; the rest is the command's input. */
  async answerStream(call: Call, body: BodyStream): Promise<void> {
    try {
      await this.during(call, async (over) => {
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
        await this.stream(call, { request, encoding: 'base64', body }, over);
      });
    } finally {
      body.discard();
    }
  }

  /** Runs `work` with a signal that aborts when the connection or the right to it ends. */
  private async during(call: Call, work: (over: AbortSignal) => Promise<void>): Promise<void> {
    const gone = new AbortController();
    // This error only reaches the audit: the client that would read it is gone.
    const leave = (): void => gone.abort(new DomainError('request_timeout', { code: 'client_gone' }));
    if (call.signal.aborted) leave();
    else call.signal.addEventListener('abort', leave, { once: true });
    try {
      await this.rights.during(call.caller, (end) => work(AbortSignal.any([end, gone.signal])));
    } finally {
      call.signal.removeEventListener('abort', leave);
    }
  }

  private async answerWhole({ caller, id, body, reply }: CommandCall, signal: AbortSignal): Promise<void> {
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

  private async stream({ caller, id, request, reply }: Call, asked: Streamed, signal: AbortSignal): Promise<void> {
    const stream = new EventStream(reply.raw);
    const text = new OutputText(asked.encoding);
    const send = async (output: 'stdout' | 'stderr', data: string): Promise<void> => {
      if (data === '') return;
      stream.send({ type: 'output', payload: { stream: output, data } });
      await stream.drained();
    };
    try {
      const end = await this.commands.run(caller, id, asked.request, {
        signal,
        onStarted: () => this.streams.open(stream, { request, reply }),
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

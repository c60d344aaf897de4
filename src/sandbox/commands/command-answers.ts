import { Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../../auth';
import { DomainError, errorAnswer } from '../../errors';
import { acceptsEvents, AnswerStreams, EventStream } from '../../events';
import { RightToEnter } from '../right-to-enter';
import {
  COMMAND_OUTPUT_BYTES,
  COMMAND_TIMEOUT_MS,
  type CommandEndView,
  type CommandResultView,
  type RunCommandDto,
} from './dto';
import { type CommandEnd, type CommandRequest, Commands } from './commands';
import { CollectedOutput, OutputText } from './output-text';

/** A request to run a command, and where its answer goes. */
export interface CommandCall {
  readonly caller: Principal;
  readonly id: string;
  readonly body: RunCommandDto;
  /** Aborted when the connection is gone. */
  readonly signal: AbortSignal;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** Answers with a command's output and end: in one piece of JSON, or as they come where the client accepts that. */
@Injectable()
export class CommandAnswers {
  constructor(
    private readonly commands: Commands,
    private readonly streams: AnswerStreams,
    private readonly rights: RightToEnter,
  ) {}

  /**
   * @throws DomainError as {@link Commands.run}, `unauthorized` if the token ends meanwhile, `exec_not_allowed` if the
   *   tier comes to let nobody in
   */
  async answer(call: CommandCall): Promise<void> {
    const gone = new AbortController();
    // It is in the audit alone: nobody is there to read it.
    const leave = (): void => gone.abort(new DomainError('request_timeout', { code: 'client_gone' }));
    if (call.signal.aborted) leave();
    else call.signal.addEventListener('abort', leave, { once: true });
    try {
      await this.rights.during(call.caller, async (end) => {
        const over = AbortSignal.any([end, gone.signal]);
        if (acceptsEvents(call.request)) await this.stream(call, over);
        else await this.answerWhole(call, over);
      });
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
    const answer: CommandResultView = Object.assign(endView(end), { stdout, stderr });
    await reply.status(200).send(answer);
  }

  private async stream(call: CommandCall, signal: AbortSignal): Promise<void> {
    const { caller, id, body, request, reply } = call;
    const stream = new EventStream(reply.raw);
    const text = new OutputText(body.encoding ?? 'utf-8');
    const send = async (output: 'stdout' | 'stderr', data: string): Promise<void> => {
      if (data === '') return;
      stream.sendAs({ type: 'output', payload: { stream: output, data } });
      await stream.drained();
    };
    try {
      const end = await this.commands.run(caller, id, requestOf(body), {
        signal,
        onStarted: () => this.streams.open(stream, { request, reply }),
        onOutput: (output) => send(output.stream, text.piece(output)),
      });
      if (!end.truncated) for (const output of ['stdout', 'stderr'] as const) await send(output, text.rest(output));
      stream.sendAs({ type: 'result', payload: endView(end) });
      await stream.ended();
    } catch (error) {
      if (!reply.raw.headersSent) throw error;
      // The status is out already.
      stream.sendAs({ type: 'failed', payload: errorAnswer(error, request.id).body });
      await stream.ended();
      throw error;
    }
  }
}

/** A client that leaves out a field may say so by a null. */
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

import { Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { OpenConnections, type Principal } from '../auth';
import { DomainError, errorAnswer } from '../errors';
import { acceptsEvents, AnswerStreams, EventStream } from '../http';
import type { CodeClient, CodeLine } from './code-runner';
import type { CodeEndView, CodeExceptionView, CodeResultView, CodeShownView } from './dto';

const MOST_TEXT = 1024 * 1024;
const MOST_RESULTS = { count: 100, chars: 16 * 1024 * 1024 } as const;

/** A request about code, with its reply. */
interface Call {
  readonly caller: Principal;
  /** Aborted when the connection has closed. */
  readonly signal: AbortSignal;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** What a run has written and shown so far, within bounds: the sandbox decides how much there is. */
export class CodeCollector {
  private readonly ended: { -readonly [Field in keyof CodeEndView]: CodeEndView[Field] } = {
    execution: '',
    running: true,
    execution_count: null,
    interrupted: null,
    restarted: false,
    next: 0,
  };
  private readonly seen = { stdout: '', stderr: '', results: [] as CodeShownView[], truncated: false };
  private exception: CodeExceptionView | null = null;
  private chars = 0;

  /** @param options.isKept whether texts and results are kept; how the run ended always is */
  take(line: CodeLine, next: number, { isKept = true } = {}): void {
    const { ended } = this;
    ended.next = next;
    if (line.type === 'started') ended.execution = line.execution;
    else if (line.type === 'number_of_executions') ended.execution_count = line.execution_count;
    else if (line.type === 'interrupted') ended.interrupted = line.reason;
    else if (line.type === 'restarted') ended.restarted = true;
    else if (line.type === 'end_of_execution') ended.running = false;
    else if (isKept) this.keep(line);
  }

  get ending(): CodeEndView {
    return this.ended;
  }

  get whole(): CodeResultView {
    return { ...this.ended, ...this.seen, exception: this.exception };
  }

  private keep(line: CodeLine): void {
    const { seen } = this;
    if (line.type === 'error') this.exception = factsOf(line) as CodeExceptionView;
    else if (line.type === 'result') {
      this.chars += JSON.stringify(line).length;
      if (this.chars > MOST_RESULTS.chars || seen.results.length >= MOST_RESULTS.count) seen.truncated = true;
      else seen.results.push(factsOf(line) as CodeShownView);
    } else if (line.type === 'stdout' || line.type === 'stderr') {
      const text = line.text.slice(0, MOST_TEXT - seen.stdout.length - seen.stderr.length);
      seen.truncated ||= text.length < line.text.length;
      seen[line.type] += text;
    }
  }
}

/** Answers with what code writes and shows: as one JSON document, or as an event stream if the client accepts one. */
@Injectable()
export class CodeAnswers {
  constructor(
    private readonly streams: AnswerStreams,
    private readonly connections: OpenConnections,
  ) {}

  /**
   * @param work runs the code, or reads what it has written
   * @param options.waits whether one JSON document is sent at the end; otherwise once the code has begun
   * @throws DomainError of `work`; `unauthorized`, `exec_not_allowed` if access ends meanwhile
   */
  async answer(call: Call, work: (client: CodeClient) => Promise<void>, { waits = true } = {}): Promise<void> {
    const { caller, signal: gone, request, reply } = call;
    // This error only reaches the audit: the client that would read it is gone.
    const reason = (): DomainError => new DomainError('request_timeout', { code: 'client_gone' });
    const { signal, leave } = this.connections.accessOf(caller, { gone, reason });
    const stream = acceptsEvents(request) ? new EventStream(reply.raw) : null;
    const seen = new CodeCollector();
    const onLine = async (line: CodeLine, next: number): Promise<boolean> => {
      seen.take(line, next, { isKept: !stream });
      if (!stream) return waits;
      if (line.type === 'started') this.streams.open(stream, { request, reply }, () => leave);
      const type = EVENTS[line.type];
      if (type !== undefined) stream.send({ type, id: next, payload: type === 'end' ? seen.ending : factsOf(line) });
      await stream.drained();
      return true;
    };
    try {
      await work({ signal, onLine });
      if (stream) await stream.ended();
      else await reply.status(200).send(seen.whole);
    } catch (error) {
      // Once the status is sent, the error becomes an event.
      if (!stream || !reply.raw.headersSent) throw error;
      stream.send({ type: 'failed', payload: errorAnswer(error, request.id).body });
      await stream.ended();
      throw error;
    } finally {
      leave();
    }
  }
}

/** The events of lines; others change what `end` says. */
const EVENTS: Readonly<Partial<Record<CodeLine['type'], string>>> = {
  started: 'started',
  stdout: 'output',
  stderr: 'output',
  result: 'result',
  error: 'exception',
  end_of_execution: 'end',
};

/** What the API says of a line. */
function factsOf(line: CodeLine): object {
  if (line.type === 'stdout' || line.type === 'stderr') return { stream: line.type, data: line.text };
  const { type, is_main_result: main, ...facts } = line as Record<string, unknown>;
  return type === 'result' ? { main, formats: facts } : facts;
}

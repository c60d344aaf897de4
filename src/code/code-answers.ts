import { Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { OpenConnections, type Principal } from '../auth';
import { DomainError, errorAnswer } from '../errors';
import { acceptsEvents, AnswerStreams, EventStream } from '../http';
import type { CodeLine } from './code-lines';
import { type CodeClient, CodeRunner } from './code-runner';
import { CODE_TIMEOUT_MS, type CodeEndView, type CodeResultView, type CodeShownView, type RunCodeDto } from './dto';

const MOST_TEXT = 1024 * 1024;
const MOST_RESULTS = { count: 100, chars: 16 * 1024 * 1024 } as const;

/** A request about code, with its reply. */
interface Call {
  readonly caller: Principal;
  readonly id: string;
  /** Aborted when the connection has closed. */
  readonly signal: AbortSignal;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

type Work = (client: CodeClient) => Promise<void>;

/** What a run has written and shown so far, within bounds: the sandbox decides how much there is. */
export class CodeCollector {
  private readonly texts = { stdout: '', stderr: '' };
  private readonly results: CodeShownView[] = [];
  private exception: CodeResultView['exception'] = null;
  private end: Omit<CodeEndView, 'execution'> = {
    running: true,
    execution_count: null,
    interrupted: null,
    restarted: false,
    next: 0,
  };
  private chars = 0;
  private truncated = false;
  execution = '';

  /** @param isKept whether texts and results are kept; how the run ended is always */
  constructor(private readonly isKept = true) {}

  take(line: CodeLine, next: number): void {
    this.end = { ...this.end, next };
    if (line.type === 'number_of_executions') this.end = { ...this.end, execution_count: line.execution_count };
    else if (line.type === 'interrupted') this.end = { ...this.end, interrupted: line.reason };
    else if (line.type === 'restarted') this.end = { ...this.end, restarted: true };
    else if (line.type === 'end_of_execution') this.end = { ...this.end, running: false };
    else if (this.isKept) this.keep(line);
  }

  get ending(): CodeEndView {
    return { execution: this.execution, ...this.end };
  }

  get whole(): CodeResultView {
    const { results, exception, truncated } = this;
    return { ...this.ending, ...this.texts, results, exception, truncated };
  }

  private keep(line: Extract<CodeLine, { type: 'stdout' | 'stderr' | 'result' | 'error' }>): void {
    if (line.type === 'error') this.exception = exceptionOf(line);
    else if (line.type === 'result') {
      this.chars += JSON.stringify(line).length;
      if (this.chars > MOST_RESULTS.chars || this.results.length >= MOST_RESULTS.count) this.truncated = true;
      else this.results.push(shownOf(line));
    } else {
      const room = MOST_TEXT - this.texts.stdout.length - this.texts.stderr.length;
      if (line.text.length > room) this.truncated = true;
      this.texts[line.type] += line.text.slice(0, room);
    }
  }
}

/** Answers with what code writes and shows: as one JSON document, or as an event stream if the client accepts one. */
@Injectable()
export class CodeAnswers {
  constructor(
    private readonly runner: CodeRunner,
    private readonly streams: AnswerStreams,
    private readonly connections: OpenConnections,
  ) {}

  /** @throws DomainError as {@link CodeRunner.run}; `unauthorized`, `exec_not_allowed` if access ends meanwhile */
  run(call: Call, body: RunCodeDto): Promise<void> {
    const { timeout_ms: timeoutMs = CODE_TIMEOUT_MS.usual, ...code } = body;
    const given = Object.fromEntries(Object.entries(code).filter(([, value]) => value !== null)) as typeof code;
    const waits = body.detached !== true || acceptsEvents(call.request);
    const work: Work = (client) => this.runner.run(call.caller, call.id, { ...given, timeoutMs }, client);
    return this.answer(call, { work, waits });
  }

  /** @throws DomainError as {@link CodeRunner.follow} */
  follow(call: Call, asked: { readonly execution: string; readonly after: number }): Promise<void> {
    const withinMs = CODE_TIMEOUT_MS.max;
    const work: Work = (client) => this.runner.follow(call.caller, call.id, { ...asked, withinMs }, client);
    return this.answer(call, { work, waits: true });
  }

  private async answer(call: Call, { work, waits }: { work: Work; waits: boolean }): Promise<void> {
    const { caller, signal: gone, request, reply } = call;
    // This error only reaches the audit: the client that would read it is gone.
    const reason = (): DomainError => new DomainError('request_timeout', { code: 'client_gone' });
    const access = this.connections.accessOf(caller, { gone, reason });
    const { signal } = access;
    try {
      if (acceptsEvents(request)) {
        await this.stream(call, work, access);
        return;
      }
      const seen = new CodeCollector();
      const onStarted = (execution: string): boolean => {
        seen.execution = execution;
        return waits;
      };
      await work({ signal, onStarted, onLine: (line, next) => seen.take(line, next) });
      await reply.status(200).send(seen.whole);
    } finally {
      access.leave();
    }
  }

  private async stream(
    { request, reply }: Call,
    work: Work,
    { signal, leave }: ReturnType<OpenConnections['accessOf']>,
  ): Promise<void> {
    const stream = new EventStream(reply.raw);
    const seen = new CodeCollector(false);
    const send = (type: string, payload: object, id?: number): void =>
      stream.send({ type, payload, ...(id !== undefined && { id }) });
    const onStarted = (execution: string): boolean => {
      seen.execution = execution;
      this.streams.open(stream, { request, reply }, () => leave);
      send('started', { execution });
      return true;
    };
    const onLine = async (line: CodeLine, next: number): Promise<void> => {
      seen.take(line, next);
      if (line.type === 'error') send('exception', exceptionOf(line), next);
      else if (line.type === 'result') send('result', shownOf(line), next);
      else if (line.type === 'end_of_execution') send('end', seen.ending, next);
      else if ('text' in line) send('output', { stream: line.type, data: line.text }, next);
      await stream.drained();
    };
    try {
      await work({ signal, onStarted, onLine });
      await stream.ended();
    } catch (error) {
      if (!reply.raw.headersSent) throw error;
      // The status is sent already, so the error becomes an event.
      send('failed', errorAnswer(error, request.id).body);
      await stream.ended();
      throw error;
    }
  }
}

function exceptionOf({
  name,
  value,
  traceback,
}: Extract<CodeLine, { type: 'error' }>): CodeResultView['exception'] & {} {
  return { name, value, traceback };
}

function shownOf({
  type: _type,
  is_main_result: main,
  ...formats
}: Extract<CodeLine, { type: 'result' }>): CodeShownView {
  return { main, formats };
}

import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { type IncomingMessage, request as httpRequest } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { noteProgram } from '../audit';
import { type Caller, type ContainerEntry, ContainersService, type RunningContainer } from '../containers';
import { ContainerEngine, EngineError } from '../engine';
import { DomainError } from '../errors';
import { portFault } from '../sandbox';
import { Clock, KeyedLimiter, untilAborted } from '../scheduling';
import { type CodeLine, parseLine } from './code-lines';

/** Where the server of the image `code` listens, as E2B's SDK expects. */
export const CODE_PORT = 49_999;
/** The header with the container's variables: Base64 of JSON. */
export const ENVIRONMENT_HEADER = 'x-berth-environment';

/** Concurrent runs of a container in this process. */
const AT_ONCE = 16;
/** How long after the start of a container its server may take to listen, and how often it is tried. */
const LISTENS_WITHIN_MS = 20_000;
const LISTENS_RETRY_MS = 50;
/** What a run may take beyond its timeout: its turn, the start of a kernel, an interrupt, a restart. */
const BEYOND_MS = 90_000;
/** A line of a picture is the longest. Sandboxes are not trusted: a longer one ends the run. */
const MOST_LINE_BYTES = 9 * 1024 * 1024;
const MOST_WORDS_BYTES = 2_000;
const EXECUTION_ID = /^[0-9a-f]{32}$/;

/** Code to run. */
export interface CodeRequest {
  readonly code: string;
  readonly language?: string | undefined;
  /** The name of a context, which is made if it does not exist. */
  readonly context?: string | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Whether the context begins anew. */
  readonly restart?: boolean | undefined;
  /** Whether the code goes on when the client leaves. */
  readonly detached?: boolean | undefined;
  /** Counted from when the code begins. */
  readonly timeoutMs: number;
}

/** The client that waits for a run. */
export interface CodeClient {
  /** Aborted when the client leaves; the reason is the error to throw. */
  readonly signal: AbortSignal;
  /** Called before any line. @returns false if the client does not wait */
  readonly onStarted: (execution: string) => boolean;
  /** Awaited before more is read. @param next the number of the line that follows */
  readonly onLine: (line: CodeLine, next: number) => Promise<void> | void;
}

interface Exchange {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: object;
  readonly after: number;
  readonly withinMs: number;
}

/** Runs code in containers by the server that is in the image `code`. */
@Injectable()
export class CodeRunner implements OnModuleDestroy {
  private readonly closing = new AbortController();
  private readonly limiter = new KeyedLimiter(AT_ONCE);

  constructor(
    private readonly containers: ContainersService,
    private readonly engine: ContainerEngine,
    private readonly clock: Clock,
  ) {}

  /** Breaks off what runs: the sandbox interrupts it, unless it is detached. */
  onModuleDestroy(): void {
    this.closing.abort(new DomainError('shutting_down'));
  }

  /**
   * Runs code and waits for its end.
   *
   * @throws DomainError `container_not_running`, `code_unavailable`, `code_refused`, `too_many_commands`,
   *   `application_failed`, `shutting_down`; the reason of the client's signal
   */
  run(caller: Caller, id: string, request: CodeRequest, client: CodeClient): Promise<void> {
    const { code, language, context, env, restart, detached, timeoutMs } = request;
    noteProgram([language ?? 'python']);
    const named = context !== undefined && { context_id: context, create: true };
    const body = { code, language, ...named, env_vars: env, restart, detached, timeout: timeoutMs / 1_000 };
    const withinMs = timeoutMs + BEYOND_MS;
    return this.exchange(caller, id, { method: 'POST', path: '/execute', body, after: 0, withinMs }, client);
  }

  /**
   * Reads the lines of a run from the number `after` on until its end.
   *
   * @throws DomainError as {@link run}; `execution_not_found`
   */
  async follow(
    caller: Caller,
    id: string,
    { execution, after, withinMs }: { execution: string; after: number; withinMs: number },
    client: CodeClient,
  ): Promise<void> {
    if (!EXECUTION_ID.test(execution)) throw new DomainError('execution_not_found');
    const path = `/executions/${execution}?after=${String(after)}`;
    await this.exchange(caller, id, { method: 'GET', path, after, withinMs }, client);
  }

  /**
   * Waits until the server of a container listens, if the container has just started.
   *
   * @returns the header with the container's variables, for requests that are passed on
   * @throws DomainError as {@link run}
   */
  async prepare(caller: Caller, id: string): Promise<string> {
    const startedAt = await this.startOf(caller, id);
    return this.containers.inside(caller, id, async (container) => {
      (await this.connect(container, { startedAt, signal: this.closing.signal })).destroy();
      return headerOf(container);
    });
  }

  private async exchange(caller: Caller, id: string, asked: Exchange, client: CodeClient): Promise<void> {
    const late = new AbortController();
    const signal = AbortSignal.any([client.signal, this.closing.signal, late.signal]);
    const startedAt = await this.startOf(caller, id);
    const entry = await this.containers.enter(caller, id);
    const release = this.limiter.take(entry.container.id);
    const overdue = () => late.abort(new DomainError('application_failed', { code: 'timed_out' }));
    const timer = setTimeout(overdue, asked.withinMs).unref();
    try {
      if (!release) throw new DomainError('too_many_commands', { fields: { limit: AT_ONCE } });
      await this.talk(entry, { ...asked, startedAt, signal }, client);
    } finally {
      clearTimeout(timer);
      release?.();
      await entry.leave();
    }
  }

  private async talk(
    entry: ContainerEntry,
    { method, path, body, after, ...how }: Exchange & Connecting,
    client: CodeClient,
  ): Promise<void> {
    const { signal } = how;
    const connection = await entry.run((container) => this.connect(container, how));
    let cause: unknown;
    connection.on('error', (error) => (cause ??= error));
    const leave = (): void => void connection.destroy();
    signal.addEventListener('abort', leave);
    try {
      signal.throwIfAborted();
      const data = body && JSON.stringify(body);
      const headers = {
        [ENVIRONMENT_HEADER]: headerOf(entry.container),
        ...(data !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(data) }),
      };
      const message = await answerTo({ createConnection: () => connection, method, path, headers }, data);
      if (message.statusCode !== 200) throw await refusalOf(message);
      const execution = String(message.headers['x-execution-id']);
      if (!EXECUTION_ID.test(execution)) throw new DomainError('application_failed');
      if (client.onStarted(execution)) await readLines(message, after, client);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof DomainError) throw error;
      throw portFault(cause instanceof EngineError ? cause : new DomainError('application_failed', { cause: error }));
    } finally {
      signal.removeEventListener('abort', leave);
      connection.destroy();
    }
  }

  private async startOf(caller: Caller, id: string): Promise<Date | null> {
    const { runStartedAt } = await this.containers.find(caller, id);
    return runStartedAt === null ? null : new Date(runStartedAt);
  }

  /** @throws DomainError `code_unavailable` if nothing listens, some time after the start of the container */
  private async connect({ engineId }: RunningContainer, { startedAt, signal }: Connecting): Promise<Duplex> {
    for (;;) {
      try {
        return await untilAborted(this.engine.ports.connect(engineId, CODE_PORT), {
          signal,
          unused: (late) => late.destroy(),
        });
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof EngineError) || error.code !== 'port_closed') throw error;
        const age = startedAt === null ? 0 : this.clock.now().getTime() - startedAt.getTime();
        if (age > LISTENS_WITHIN_MS) throw new DomainError('code_unavailable', { cause: error });
        await delay(LISTENS_RETRY_MS);
      }
    }
  }
}

interface Connecting {
  /** When the container was started; null: just now. */
  readonly startedAt: Date | null;
  readonly signal: AbortSignal;
}

function headerOf({ environment }: RunningContainer): string {
  return Buffer.from(JSON.stringify(environment({}))).toString('base64');
}

function answerTo(options: Parameters<typeof httpRequest>[0], body: string | undefined): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(options as object, resolve);
    request.on('error', reject);
    request.on('close', () => reject(new Error('the connection was closed')));
    request.end(body);
  });
}

/** The error of an answer other than 200. Its words are the sandbox's, so they are bounded, and printable. */
async function refusalOf(message: IncomingMessage): Promise<DomainError> {
  let words = '';
  for await (const chunk of message) {
    words += String(chunk);
    if (words.length > MOST_WORDS_BYTES) break;
  }
  if (message.statusCode === 404 && message.req.method === 'GET') return new DomainError('execution_not_found');
  const isRefusal = message.statusCode !== undefined && message.statusCode >= 400 && message.statusCode < 500;
  if (!isRefusal) return new DomainError('application_failed');
  const reason = words.slice(0, MOST_WORDS_BYTES).replace(/\p{Cc}/gu, ' ');
  return new DomainError('code_refused', { fields: { reason } });
}

/** @throws DomainError `application_failed` for a line that is too long, none of the protocol, or for a missing end */
async function readLines(message: IncomingMessage, after: number, client: CodeClient): Promise<void> {
  let [parts, bytes, next]: [Buffer[], number, number] = [[], 0, after];
  for await (const chunk of message) {
    let rest = chunk as Buffer;
    for (let end = rest.indexOf(0x0a); end >= 0; end = rest.indexOf(0x0a)) {
      const line = parseLine(Buffer.concat([...parts, rest.subarray(0, end)]).toString());
      next += line && 'lost' in line && line.lost !== undefined ? line.lost : 1;
      [parts, bytes, rest] = [[], 0, rest.subarray(end + 1)];
      if (line) await client.onLine(line, next);
      if (line?.type === 'end_of_execution') return;
    }
    bytes += rest.length;
    if (bytes > MOST_LINE_BYTES) throw new DomainError('application_failed', { code: 'output_too_large' });
    if (rest.length > 0) parts.push(rest);
  }
  throw new DomainError('application_failed', { code: 'broken_off' });
}

import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { type IncomingMessage, request as httpRequest, type RequestOptions } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { noteProgram } from '../audit';
import { type Caller, ContainersService, type RunningContainer } from '../containers';
import { ContainerEngine, EngineError } from '../engine';
import { DomainError } from '../errors';
import { failedAs } from '../sandbox';
import { Clock, KeyedLimiter, untilAborted } from '../scheduling';
import { CODE_TIMEOUT_MS, type RunCodeDto } from './dto';

/** Where the server of the image `code` listens, as E2B's SDK expects. */
export const CODE_PORT = 49_999;
/** The header with the container's variables: Base64 of JSON. */
export const ENVIRONMENT_HEADER = 'x-berth-environment';

/** Concurrent runs of a container in this process. */
const AT_ONCE = 16;
/** How long after the start of a container its server may take to listen. */
const LISTENS_WITHIN_MS = 10_000;
const LISTENS_RETRY_MS = 50;
/** What a run may take beyond its timeout: its turn, the start of a kernel, an interrupt, a restart. */
const BEYOND_MS = 90_000;
/** Sandboxes are not trusted: a longer line, which would be a large picture, or deeper JSON ends the run. */
const MOST_LINE_BYTES = 9 * 1024 * 1024;
const MOST_DEPTH = 64;
const MOST_REASON = 2_000;
const EXECUTION_ID = /^[0-9a-f]{32}$/;

const LINE = z.union([
  // `lost`: so many lines are no longer kept, and this one, which says so, has no number.
  z.object({ type: z.enum(['stdout', 'stderr']), text: z.string(), lost: z.int().min(1).default(1) }),
  z.looseObject({ type: z.literal('result'), is_main_result: z.boolean() }),
  z.object({ type: z.literal('error'), name: z.string(), value: z.string(), traceback: z.string() }),
  z.object({ type: z.literal('number_of_executions'), execution_count: z.int().min(0) }),
  z.object({ type: z.literal('interrupted'), reason: z.enum(['timeout', 'disconnect', 'restart']) }),
  z.object({ type: z.enum(['restarted', 'end_of_execution']) }),
  // Faulty, or of a later version: it tells nothing.
  z.object({ type: z.string() }).transform(() => ({ type: 'unknown' as const })),
]);

/** A line of the server of the image `code`: see packages/code-server. The first one says which run it is. */
export type CodeLine = z.output<typeof LINE> | { readonly type: 'started'; readonly execution: string };

/** The client that waits for a run. */
export interface CodeClient {
  /** Aborted when the client leaves; the reason is the error to throw. */
  readonly signal: AbortSignal;
  /** Awaited before more is read. @param next the number of the line that follows @returns false to read no more */
  readonly onLine: (line: CodeLine, next: number) => Promise<boolean> | boolean;
}

/** A request to the server in a container. */
interface Asked extends Pick<RequestOptions, 'method' | 'path'> {
  readonly body?: object;
  /** The number of the first line. */
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
   *   `code_failed`, `shutting_down`; the reason of the client's signal
   */
  run(caller: Caller, id: string, { context, env, timeout_ms: ms, ...code }: RunCodeDto, client: CodeClient) {
    noteProgram([code.language ?? 'python']);
    const timeoutMs = ms ?? CODE_TIMEOUT_MS.usual;
    const body = { ...code, context_id: context, create: true, env_vars: env, timeout: timeoutMs / 1_000 };
    const withinMs = timeoutMs + BEYOND_MS;
    return this.exchange(caller, id, { method: 'POST', path: '/execute', body, after: 0, withinMs }, client);
  }

  /** Reads the lines of a run from a number on. @throws DomainError as {@link run}; `execution_not_found` */
  async follow(caller: Caller, id: string, asked: { execution: string; after: number }, client: CodeClient) {
    const { execution, after } = asked;
    const path = EXECUTION_ID.test(execution) ? `/executions/${execution}?after=${String(after)}` : null;
    await this.exchange(caller, id, { method: 'GET', path, after, withinMs: CODE_TIMEOUT_MS.max + BEYOND_MS }, client);
  }

  /** Waits until the server of a container listens. @returns {@link ENVIRONMENT_HEADER} @throws as {@link run} */
  async prepare(caller: Caller, id: string): Promise<string> {
    const { runStartedAt } = await this.containers.find(caller, id);
    return this.containers.inside(caller, id, async (container) => {
      (await this.connect(container, runStartedAt, this.closing.signal)).destroy();
      return headerOf(container);
    });
  }

  private async exchange(caller: Caller, id: string, { withinMs, ...asked }: Asked, client: CodeClient): Promise<void> {
    const late = new AbortController();
    const signal = AbortSignal.any([client.signal, this.closing.signal, late.signal]);
    const { runStartedAt } = await this.containers.findToUse(caller, id);
    if (asked.path === null) throw new DomainError('execution_not_found');
    const entry = await this.containers.enter(caller, id);
    const release = this.limiter.take(entry.container.id);
    const timer = setTimeout(() => late.abort(failed('timed_out')), withinMs).unref();
    try {
      if (!release) throw new DomainError('too_many_commands', { fields: { limit: AT_ONCE } });
      const connection = await entry.run((container) => this.connect(container, runStartedAt, signal));
      await talk(connection, { ...asked, environment: headerOf(entry.container) }, { ...client, signal });
    } finally {
      clearTimeout(timer);
      release?.();
      await entry.leave();
    }
  }

  /** @throws DomainError `code_unavailable` if nothing listens, some time after the start of the container */
  private async connect(
    { engineId }: RunningContainer,
    startedAt: string | null,
    signal: AbortSignal,
  ): Promise<Duplex> {
    const since = performance.now();
    for (;;) {
      try {
        const connecting = this.engine.ports.connect(engineId, CODE_PORT);
        return await untilAborted(connecting, { signal, unused: (connection) => connection.destroy() });
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
        if (error.code !== 'port_closed') throw failedAs('code_failed', error);
        const age = startedAt === null ? 0 : this.clock.now().getTime() - Date.parse(startedAt);
        if (Math.max(age, performance.now() - since) > LISTENS_WITHIN_MS)
          throw new DomainError('code_unavailable', { cause: error });
        await delay(LISTENS_RETRY_MS);
      }
    }
  }
}

function headerOf({ environment }: RunningContainer): string {
  return Buffer.from(JSON.stringify(environment({}))).toString('base64');
}

function failed(
  code: 'code_failed' | 'timed_out' | 'output_too_large' | 'broken_off' = 'code_failed',
  cause?: unknown,
) {
  return new DomainError('code_failed', { code, cause });
}

/** Sends a request over a connection, which it closes at last, and reads the lines of the answer. */
async function talk(
  connection: Duplex,
  { method, path, body, after, environment }: Omit<Asked, 'withinMs'> & { readonly environment: string },
  client: CodeClient,
): Promise<void> {
  const { signal } = client;
  const leave = (): void => void connection.destroy();
  let fault: unknown;
  connection.on('error', (error) => (fault ??= error));
  signal.addEventListener('abort', leave);
  try {
    signal.throwIfAborted();
    const data = Buffer.from(body ? JSON.stringify(body) : '');
    const headers = { [ENVIRONMENT_HEADER]: environment, 'content-length': data.length };
    const message = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = httpRequest({ createConnection: () => connection, method, path, headers }, resolve);
      request
        .on('error', reject)
        .on('close', () => reject(failed('broken_off')))
        .end(data);
    });
    if (message.statusCode !== 200) throw await refusalOf(message, method);
    const execution = String(message.headers['x-execution-id']);
    if (!EXECUTION_ID.test(execution)) throw failed();
    if (await client.onLine({ type: 'started', execution }, after)) await readLines(message, after, client);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof DomainError) throw error;
    throw fault instanceof EngineError ? failedAs('code_failed', fault) : failed('code_failed', error);
  } finally {
    signal.removeEventListener('abort', leave);
    connection.destroy();
  }
}

/** The error of an answer other than 200. Its words are the sandbox's: they are bounded, and printable. */
async function refusalOf(message: IncomingMessage, method: string | undefined): Promise<DomainError> {
  let words = '';
  for await (const chunk of message) if ((words += String(chunk)).length > MOST_REASON) break;
  const { statusCode = 0 } = message;
  if (statusCode === 404 && method === 'GET') return new DomainError('execution_not_found');
  if (statusCode < 400 || statusCode >= 500) return failed();
  const reason = words.slice(0, MOST_REASON).replace(/\p{Cc}/gu, ' ');
  return new DomainError('code_refused', { fields: { reason } });
}

/** @throws DomainError `code_failed` for a line that is too long or none of the protocol, or if the end is missing */
async function readLines(message: AsyncIterable<unknown>, after: number, client: CodeClient): Promise<void> {
  let [parts, bytes, next]: [Buffer[], number, number] = [[], 0, after];
  for await (const chunk of message) {
    let rest = chunk as Buffer;
    for (let end = rest.indexOf(0x0a); end >= 0; end = rest.indexOf(0x0a)) {
      const json: unknown = JSON.parse(Buffer.concat([...parts, rest.subarray(0, end)]).toString());
      if (isDeep(json, MOST_DEPTH)) throw failed();
      const line = LINE.parse(json);
      next += line.type === 'stdout' || line.type === 'stderr' ? line.lost : 1;
      [parts, bytes, rest] = [[], 0, rest.subarray(end + 1)];
      if (!(await client.onLine(line, next)) || line.type === 'end_of_execution') return;
    }
    bytes += rest.length;
    if (bytes > MOST_LINE_BYTES) throw failed('output_too_large');
    if (rest.length > 0) parts.push(rest);
  }
  throw failed('broken_off');
}

function isDeep(value: unknown, most: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return most === 0 || Object.values(value).some((each) => isDeep(each, most - 1));
}

import type { Readable } from 'node:stream';
import { setMaxListeners } from 'node:events';
import { EventParser } from '@berth/client';
import type { Command } from 'commander';
import { doing } from './advice.ts';
import { openContext } from './config.ts';
import { reasonOf } from './exit.ts';
import { note } from './output.ts';
import { interruption } from './session.ts';

/** The longest message that is read: more than any server takes. */
const MOST_LINE = 4 * 1024 * 1024;
/** Requests that wait for their answers at once; more are read when one of them ends. */
const MOST_REQUESTS = 16;

const VERSION_KEY = 'io.modelcontextprotocol/protocolVersion';

/** Codes of JSON-RPC: the line is no JSON; the server did not answer. */
const [PARSE_ERROR, SERVER_ERROR] = [-32_700, -32_000];

/** `berth mcp`: the server's tools over standard input and output, for programs that start their tools. */
export function addMcpCommand(program: Command): void {
  program
    .command('mcp')
    .description("Serve the server's tools to AI agents on standard input and output (MCP)")
    .action(async (_: unknown, command: Command) => {
      const { url, token } = await openContext(command.optsWithGlobals<{ context?: string }>().context);
      doing.server = url;
      await new Bridge(`${url.replace(/\/+$/, '')}/mcp`, token).run(process.stdin);
    });
}

/** A message of JSON-RPC, as far as it is looked at. */
interface Message {
  readonly id?: string | number | null;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly result?: Readonly<Record<string, unknown>>;
}

/** Sends each line of the input to the server, and writes the messages of its answers, each on a line. */
class Bridge {
  private readonly ended = new AbortController();
  private readonly running = new Map<Promise<void>, { readonly id: Message['id']; readonly stop: AbortController }>();
  /** The revision that server and client have agreed upon in `initialize`. */
  private version: string | undefined;
  private written: Promise<void> = Promise.resolve();

  constructor(
    private readonly url: string,
    private readonly token: string,
  ) {}

  /** Resolves at the end of the input, once all requests are answered. A signal ends them, and what they run. */
  async run(input: Readable): Promise<void> {
    const end = (): void => {
      this.ended.abort();
      input.destroy();
    };
    setMaxListeners(0, this.ended.signal);
    process.once('SIGTERM', end).once('SIGHUP', end);
    interruption.addEventListener('abort', end, { once: true });
    try {
      for await (const line of linesOf(input)) await this.take(line);
    } catch (error) {
      if (!this.ended.signal.aborted) throw error;
    }
    await Promise.all(this.running.keys());
    await this.written;
    interruption.throwIfAborted();
  }

  /** Begins a request, and waits only if too many are under way. */
  private async take(line: string | null): Promise<void> {
    const message = line === null ? null : parse(line);
    if (line === null || message === null) {
      this.fail(null, PARSE_ERROR, 'the line is too long, or not a JSON object');
      return;
    }
    if (message.method === 'notifications/cancelled') this.cancel(message.params?.['requestId']);
    const stop = new AbortController();
    const work: Promise<void> = this.pass(line, message, AbortSignal.any([stop.signal, this.ended.signal])).finally(
      () => this.running.delete(work),
    );
    this.running.set(work, { id: message.id, stop });
    // The agreed revision belongs into the head of the next request.
    if (message.method === 'initialize') await work;
    else if (this.running.size >= MOST_REQUESTS) await Promise.race(this.running.keys());
  }

  /** The server has no sessions, so a request is cancelled by the end of its connection. */
  private cancel(id: unknown): void {
    for (const [, request] of this.running) if (id !== undefined && request.id === id) request.stop.abort();
  }

  private async pass(line: string, message: Message, signal: AbortSignal): Promise<void> {
    try {
      const response = await fetch(this.url, { method: 'POST', body: line, headers: this.headersOf(message), signal });
      const type = response.headers.get('content-type') ?? '';
      if (type.startsWith('text/event-stream') && response.body) {
        for await (const data of eventsOf(response.body)) this.answer(message, data);
        return;
      }
      const text = await response.text();
      const answer = text === '' ? null : parse(text);
      if (answer && 'jsonrpc' in answer) this.answer(message, text);
      else if (!response.ok) this.fail(message.id, SERVER_ERROR, refusalOf(response.status, answer));
    } catch (error) {
      // Nobody waits for the answer to a cancelled request.
      if (!signal.aborted) this.fail(message.id, SERVER_ERROR, `${this.url} did not answer: ${causeOf(error)}`);
    }
  }

  private headersOf({ method, params }: Message): Record<string, string> {
    const meta = params?.['_meta'] as Readonly<Record<string, unknown>> | undefined;
    const own = meta?.[VERSION_KEY];
    const version = typeof own === 'string' ? own : this.version;
    const name = params?.['name'] ?? params?.['uri'];
    return {
      authorization: `Bearer ${this.token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...(isHeader(version) && { 'mcp-protocol-version': version }),
      ...(isHeader(method) && { 'mcp-method': method }),
      ...(isHeader(name) && { 'mcp-name': name }),
    };
  }

  private answer({ method }: Message, text: string): void {
    const answer = parse(text);
    if (!answer) return;
    const version = answer.result?.['protocolVersion'];
    if (method === 'initialize' && typeof version === 'string') this.version = version;
    this.write(answer);
  }

  /** Tells people on stderr, and the program if it waits for an answer. */
  private fail(id: Message['id'], code: number, message: string): void {
    note(`berth: mcp: ${message}`);
    if (id !== undefined) this.write({ jsonrpc: '2.0', id, error: { code, message } });
  }

  /** Waits for a reader that is slow, in order. */
  private write(message: object): void {
    const line = `${JSON.stringify(message)}\n`;
    this.written = this.written.then(() => new Promise((resolve) => process.stdout.write(line, () => resolve())));
  }
}

/** The lines of a stream; null for one that is too long, which is skipped. */
async function* linesOf(input: Readable): AsyncGenerator<string | null> {
  let parts: Buffer[] = [];
  let bytes = 0;
  const taken = (): string | null => {
    const line = bytes > MOST_LINE ? null : Buffer.concat(parts).toString().trim();
    [parts, bytes] = [[], 0];
    return line;
  };
  for await (const chunk of input) {
    let rest = chunk as Buffer;
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
      parts.push(rest.subarray(0, end));
      bytes += end;
      const line = taken();
      if (line !== '') yield line;
      rest = rest.subarray(end + 1);
    }
    bytes += rest.length;
    if (bytes > MOST_LINE) parts = [];
    else parts.push(rest);
  }
  const last = taken();
  if (last !== '') yield last;
}

/** The data of Server-Sent Events. */
async function* eventsOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  const parser = new EventParser();
  for await (const chunk of body) {
    for (const { data } of parser.push(decoder.decode(chunk, { stream: true }))) yield data;
  }
}

function parse(text: string): Message | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

function isHeader(value: unknown): value is string {
  return typeof value === 'string' && /^[\x21-\x7e]{1,256}$/.test(value);
}

/** What a refusal of the API says. */
function refusalOf(status: number, answer: object | null): string {
  const { error, code } = (answer ?? {}) as { readonly error?: unknown; readonly code?: unknown };
  if (typeof error !== 'string') return `the server answered ${String(status)}`;
  if (status === 401) return `${error}: the token is wrong, revoked or expired. Log in again: \`berth login URL\``;
  return typeof code === 'string' ? `${error} (${code})` : error;
}

function causeOf(error: unknown): string {
  return reasonOf(error instanceof Error && error.cause instanceof Error ? error.cause : error);
}

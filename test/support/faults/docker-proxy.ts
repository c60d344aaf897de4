import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { createServer, IncomingMessage, OutgoingHttpHeaders, request, Server, ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';

/**
 * What goes wrong with one call. Without asking Docker: `refuse` answers 500, `lose` cuts the connection, `kill_before`
 * calls back and never answers. Docker is asked, and the answer `drop`ped with the connection, `truncate`d in its
 * middle, `corrupt`ed beyond reading, `delay`ed, withheld for ever (`hang`), or withheld with a call back
 * (`kill_after`).
 */
export type Fault = FaultOfAnswer | 'delay' | 'hang' | 'kill_before' | 'kill_after';
type FaultOfAnswer = 'refuse' | 'lose' | 'drop' | 'truncate' | 'corrupt';

interface Armed {
  readonly fault: Fault;
  /** Which call from now on, counted from 1. */
  readonly nth: number;
  /** Count only the calls that change something in Docker. */
  readonly writesOnly?: boolean;
  /** Count only such calls. */
  readonly call?: RegExp;
  readonly onKill?: () => void;
}

/** A call that is struck. */
export interface Strike {
  readonly fault: Fault;
  /** Of a `delay`. */
  readonly delayMs?: number;
  /** Of a `delay`, in the place of a time. */
  readonly until?: Promise<unknown>;
  readonly onKill?: () => void;
}

/** A man in the middle of Berth and Docker's socket. Event streams and pings pass uncounted. */
export class DockerProxy {
  private readonly server: Server;
  private armed: Armed | null = null;
  private readonly eventStreams = new Set<ServerResponse>();
  /** The calls since the last `arm`, as `METHOD path-without-ids`. */
  calls: string[] = [];
  /** The call that was struck; null if there were not as many. */
  struck: string | null = null;
  /** How many programs in containers are heard out now. */
  programs = 0;
  /** While true, nothing reaches Docker at all. */
  down = false;
  /** Asked about every call that nothing else strikes; `path` is the call's own, with ids. */
  onCall: (call: string, path: string) => Strike | null = () => null;

  private constructor(
    private readonly dockerSocket: string,
    readonly socket: string,
  ) {
    // Docker closes no connection for being idle.
    this.server = createServer({ keepAliveTimeout: 0 }, (incoming, answer) => this.handle(incoming, answer));
    this.server.on('upgrade', (incoming, client, head) => this.tunnel(incoming, client, head));
  }

  static async open(): Promise<DockerProxy> {
    const host = process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock';
    if (!host.startsWith('unix://')) throw new Error('the fault proxy needs Docker on a unix socket');
    const proxy = new DockerProxy(host.slice('unix://'.length), join(tmpdir(), `berth-proxy-${randomUUID()}.sock`));
    await new Promise<void>((resolve) => proxy.server.listen(proxy.socket, resolve));
    return proxy;
  }

  get dockerHost(): string {
    return `unix://${this.socket}`;
  }

  arm(armed: Armed | null): void {
    this.armed = armed;
    this.calls = [];
    this.struck = null;
  }

  /** Cuts everything that is open now. */
  cut(): void {
    this.server.closeAllConnections();
  }

  /** Makes every event stream that is open now say what cannot be read. */
  corruptEvents(): void {
    for (const stream of this.eventStreams) stream.write('{"Type":"conta\u0000\n');
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
    await rm(this.socket, { force: true });
  }

  private handle(incoming: IncomingMessage, answer: ServerResponse): void {
    if (this.down) {
      incoming.socket.destroy();
      return;
    }
    const path = (incoming.url ?? '').replace(/\?.*/, '');
    const call = `${incoming.method ?? ''} ${path.replace(/[0-9a-f]{64}/g, ':id')}`;
    if (/\/(events|_ping|info)$/.test(call)) {
      if (call.endsWith('/events')) {
        this.eventStreams.add(answer);
        answer.once('close', () => this.eventStreams.delete(answer));
      }
      this.forward(incoming, answer, null);
      return;
    }
    const struck = this.strikeFor(call, path);
    if (struck?.fault === 'refuse') {
      incoming.resume();
      answer.writeHead(500, { 'content-type': 'application/json' }).end('{"message":"injected fault"}');
    } else if (struck?.fault === 'lose') {
      incoming.socket.destroy();
    } else if (struck?.fault === 'kill_before') {
      struck.onKill?.();
    } else {
      this.forward(incoming, answer, struck);
    }
  }

  private strikeFor(call: string, path: string): Strike | null {
    const { writesOnly = false, call: counted = /^/ } = this.armed ?? {};
    if ((writesOnly && /^(GET|HEAD) /.test(call)) || !counted.test(call)) return null;
    this.calls.push(call);
    if (this.armed?.nth !== this.calls.length) return this.onCall(call, path);
    this.struck = call;
    return this.armed;
  }

  /** What a program in a container says, uncounted as well: it is HTTP no more, so it is passed on as it is. */
  private tunnel({ method, url, rawHeaders }: IncomingMessage, client: Duplex, head: Buffer): void {
    const docker = connect(this.dockerSocket);
    docker.write(`${method ?? ''} ${url ?? ''} HTTP/1.1\r\n`);
    for (let index = 0; index < rawHeaders.length; index += 2) {
      docker.write(`${rawHeaders[index] ?? ''}: ${rawHeaders[index + 1] ?? ''}\r\n`);
    }
    docker.write('\r\n');
    docker.write(head);
    client.pipe(docker).pipe(client);
    this.programs += 1;
    client.once('close', () => {
      this.programs -= 1;
      docker.destroy();
    });
    client.on('error', () => docker.destroy());
    docker.once('close', () => client.destroy()).on('error', () => client.destroy());
  }

  private forward(incoming: IncomingMessage, answer: ServerResponse, struck: Strike | null): void {
    const { method, url, headers } = incoming;
    const onward = request({ socketPath: this.dockerSocket, method, path: url, headers }, (response) => {
      if (struck) {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.once('end', () => this.spoil({ struck, response, answer, body: Buffer.concat(chunks) }));
        return;
      }
      answer.writeHead(response.statusCode ?? 502, response.headers);
      answer.flushHeaders();
      response.pipe(answer);
      // Docker died in the middle of it, so that must be seen.
      response.once('error', () => incoming.socket.destroy());
    });
    onward.once('error', () => incoming.socket.destroy());
    if (!struck) answer.once('close', () => onward.destroy());
    incoming.pipe(onward);
  }

  /** Hands on an answer of Docker's as the strike has it. */
  private spoil(spoilt: { struck: Strike; response: IncomingMessage; answer: ServerResponse; body: Buffer }): void {
    const { struck, response, answer, body } = spoilt;
    const head = (): ServerResponse => answer.writeHead(response.statusCode ?? 502, headersOf(response, body));
    switch (struck.fault) {
      case 'drop':
        answer.destroy();
        return;
      case 'truncate':
        if (body.length === 0) answer.destroy();
        else head().write(body.subarray(0, body.length / 2), () => answer.destroy());
        return;
      case 'corrupt':
        // An answer without a body is corrupted in its head.
        if (body.length === 0) answer.socket?.end('HTTQ/1.1 2\u0000\r\n\r\n');
        else head().end(body.map((byte) => byte ^ 0x15));
        return;
      case 'delay':
        if (struck.until) void struck.until.then(() => head().end(body));
        else setTimeout(() => head().end(body), struck.delayMs ?? 0);
        return;
      case 'kill_after':
        struck.onKill?.();
        return;
      default:
    }
  }
}

/** Docker's own, for a body that comes in one piece. */
function headersOf({ headers }: IncomingMessage, body: Buffer): OutgoingHttpHeaders {
  const length = { 'transfer-encoding': undefined, 'content-length': String(body.length) };
  const whole: OutgoingHttpHeaders = body.length === 0 ? headers : { ...headers, ...length };
  return Object.fromEntries(Object.entries(whole).filter(([, value]) => value !== undefined));
}

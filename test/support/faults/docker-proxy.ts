import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import {
  type ClientRequest,
  createServer,
  IncomingMessage,
  OutgoingHttpHeaders,
  request,
  Server,
  ServerResponse,
} from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';

/**
 * The fault of one call.
 *
 * Without asking Docker: `refuse` answers 500, `lose` cuts the connection, `kill_before` calls `onKill` and never
 * answers.
 *
 * After asking Docker, its answer is lost with the connection (`drop`), cut in the middle (`truncate`), made
 * unreadable (`corrupt`), sent late (`delay`), or never sent (`hang`; `kill_after` calls `onKill` too).
 */
export type Fault = FaultOfAnswer | 'delay' | 'hang' | 'kill_before' | 'kill_after';
type FaultOfAnswer = 'refuse' | 'lose' | 'drop' | 'truncate' | 'corrupt';

/** A fault that waits for its call. */
export interface ArmedFault {
  readonly fault: Fault;
  /** The number of the call from now on, counted from 1. */
  readonly nth: number;
  /** Count only the calls that change something in Docker. */
  readonly writesOnly?: boolean;
  /** Count only calls that match. */
  readonly call?: RegExp;
  readonly onKill?: () => void;
}

/** A fault that is applied to a call. */
export interface Strike {
  readonly fault: Fault;
  /** The time of a `delay`. */
  readonly delayMs?: number;
  /** Ends a `delay`, instead of a time. */
  readonly until?: Promise<unknown>;
  readonly onKill?: () => void;
}

/** A proxy between Berth and Docker's socket that injects faults. Event streams and pings pass uncounted. */
export class DockerProxy {
  private readonly server: Server;
  private armed: ArmedFault | null = null;
  private readonly eventStreams = new Set<ServerResponse>();
  /** The calls since the last `arm`, as `METHOD path-without-ids`. */
  calls: string[] = [];
  /** The call that had the armed fault; null if there were too few calls. */
  struck: string | null = null;
  /** The number of programs in containers whose streams are open. */
  programs = 0;
  /** While true, no call reaches Docker. */
  down = false;
  /** Called for every call without an armed fault; `url` is the call's own, with ids and query. */
  onCall: (call: string, url: string) => Strike | null = () => null;

  private readonly onward = new Set<ClientRequest>();

  private constructor(
    private readonly dockerSocket: string,
    readonly socket: string,
  ) {
    // Docker closes no idle connection.
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

  arm(armed: ArmedFault | null): void {
    this.armed = armed;
    this.calls = [];
    this.struck = null;
  }

  /** Cuts all open connections. */
  cut(): void {
    this.server.closeAllConnections();
  }

  /** Makes every open event stream send unreadable data. */
  corruptEvents(): void {
    for (const stream of this.eventStreams) stream.write('{"Type":"conta\u0000\n');
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
    // A call that is struck is not given up with its client, and Docker may answer it never.
    for (const call of this.onward) call.destroy();
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
    const struck = this.strikeFor(call, incoming.url ?? '');
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

  private strikeFor(call: string, url: string): Strike | null {
    const { writesOnly = false, call: counted = /^/ } = this.armed ?? {};
    if ((writesOnly && /^(GET|HEAD) /.test(call)) || !counted.test(call)) return null;
    this.calls.push(call);
    if (this.armed?.nth !== this.calls.length) return this.onCall(call, url);
    this.struck = call;
    return this.armed;
  }

  /** The streams of a program in a container. They are not HTTP, so they are passed on unchanged, uncounted too. */
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
      // Docker died in the middle of the answer. Berth must see that.
      response.once('error', () => incoming.socket.destroy());
    });
    this.onward.add(onward);
    onward.once('close', () => this.onward.delete(onward));
    onward.once('error', () => incoming.socket.destroy());
    if (!struck) answer.once('close', () => onward.destroy());
    incoming.pipe(onward);
  }

  /** Passes on Docker's answer with the fault. */
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
        // An answer without a body gets a corrupt head.
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

/** Docker's headers, for a body that is sent in one piece. */
function headersOf({ headers }: IncomingMessage, body: Buffer): OutgoingHttpHeaders {
  const length = { 'transfer-encoding': undefined, 'content-length': String(body.length) };
  const whole: OutgoingHttpHeaders = body.length === 0 ? headers : { ...headers, ...length };
  return Object.fromEntries(Object.entries(whole).filter(([, value]) => value !== undefined));
}

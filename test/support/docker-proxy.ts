import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { createServer, IncomingMessage, request, Server, ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';

/**
 * What goes wrong with one call: `refuse` answers 500 without asking Docker, `drop` asks Docker and cuts the connection
 * instead of answering, `hang` asks Docker and never answers. The two `kill`s call back before or after Docker was asked,
 * and never answer.
 */
export type Fault = 'refuse' | 'drop' | 'hang' | 'kill_before' | 'kill_after';

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

/** A man in the middle of Berth and Docker's socket. Event streams and pings pass uncounted. */
export class DockerProxy {
  private readonly server: Server;
  private armed: Armed | null = null;
  /** The calls since the last `arm`, as `METHOD path-without-ids`. */
  calls: string[] = [];
  /** The call that was struck; null if there were not as many. */
  struck: string | null = null;
  /** While true, nothing reaches Docker at all. */
  down = false;

  private constructor(
    private readonly dockerSocket: string,
    readonly socket: string,
  ) {
    this.server = createServer((incoming, answer) => this.handle(incoming, answer));
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
    const call = `${incoming.method ?? ''} ${(incoming.url ?? '').replace(/\?.*/, '').replace(/[0-9a-f]{64}/g, ':id')}`;
    if (/\/(events|_ping|info)$/.test(call)) {
      this.forward(incoming, answer, null);
      return;
    }
    const { writesOnly = false, call: counted = /^/ } = this.armed ?? {};
    if ((writesOnly && incoming.method === 'GET') || !counted.test(call)) {
      this.forward(incoming, answer, null);
      return;
    }
    this.calls.push(call);
    const struck = this.armed?.nth === this.calls.length ? this.armed : null;
    if (struck) this.struck = call;
    if (struck?.fault === 'refuse') {
      incoming.resume();
      answer.writeHead(500, { 'content-type': 'application/json' }).end('{"message":"injected fault"}');
    } else if (struck?.fault === 'kill_before') {
      struck.onKill?.();
    } else {
      this.forward(incoming, answer, struck);
    }
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
    client.once('close', () => docker.destroy()).on('error', () => docker.destroy());
    docker.once('close', () => client.destroy()).on('error', () => client.destroy());
  }

  private forward(incoming: IncomingMessage, answer: ServerResponse, struck: Armed | null): void {
    const { method, url, headers } = incoming;
    const onward = request({ socketPath: this.dockerSocket, method, path: url, headers }, (response) => {
      if (struck) {
        response.resume().once('end', () => {
          if (struck.fault === 'drop') incoming.socket.destroy();
          if (struck.fault === 'kill_after') struck.onKill?.();
        });
        return;
      }
      answer.writeHead(response.statusCode ?? 502, response.headers);
      answer.flushHeaders();
      response.pipe(answer);
    });
    onward.once('error', () => incoming.socket.destroy());
    if (!struck) answer.once('close', () => onward.destroy());
    incoming.pipe(onward);
  }
}

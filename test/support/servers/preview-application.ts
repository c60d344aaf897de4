import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { EngineError } from '../../../src/engine';
import type { FakeDaemon } from '../fakes/fake-daemon';

/** Answers that no HTTP library would write, by path. */
const RAW: Readonly<Record<string, string>> = {
  '/not-http': 'SSH-2.0-OpenSSH_9.2\r\n',
  '/status-99': 'HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n',
  '/both-lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  '/unasked-101': 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nbytes',
  '/bare-101': 'HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0\r\n\r\n',
  '/long-head': `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
  '/cut': 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf',
  '/early': 'HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig',
};

/** An HTTP application that listens on port 3000 of all containers of a fake Docker. */
export class PreviewApplication {
  /** The requests that it got. */
  readonly seen: IncomingMessage[] = [];
  /** The containers that were connected to, by their Docker ids. */
  readonly dialled: string[] = [];
  /** Called before each connection. */
  beforeConnect: () => Promise<void> | void = () => undefined;

  /** Sends an event to the last client of `/events`. */
  sendEvent: (text: string) => void = () => undefined;

  private readonly server: Server;

  constructor() {
    this.server = createServer((request, response) => {
      this.seen.push(request);
      const { url = '', method = '', headers } = request;
      const raw = RAW[url];
      if (raw !== undefined) request.socket.end(raw, 'latin1');
      else if (url === '/broken') request.socket.destroy();
      else if (url === '/stream') response.write('begun');
      else if (url === '/echo') request.pipe(response);
      else if (url === '/length') {
        let bytes = 0;
        request.on('data', (part: Buffer) => (bytes += part.length)).once('end', () => response.end(String(bytes)));
      } else if (url === '/events') {
        response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n');
        this.sendEvent = (text) => void response.write(`data: ${text}\n\n`);
      } else if (url === '/file' && headers.range !== undefined) {
        const [from = 0, to = 0] = headers.range.replace('bytes=', '').split('-').map(Number);
        response.writeHead(206, { 'content-range': `bytes ${String(from)}-${String(to)}/10` });
        response.end('0123456789'.slice(from, to + 1));
      } else if (url === '/redirect') response.writeHead(302, { location: 'http://169.254.169.254/latest/' }).end();
      else {
        response.setHeader('set-cookie', ['own=1', 'other=2; Domain=preview.localhost']);
        response.end(`${method} ${url}`);
      }
    });
    this.server.on('upgrade', (request, socket) => {
      this.seen.push(request);
      socket.on('error', () => undefined);
      const raw = RAW[request.url ?? ''];
      if (raw !== undefined) {
        socket.end(raw, 'latin1');
        return;
      }
      if (request.url === '/refused') {
        socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno');
        return;
      }
      const head = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Own: 1';
      socket.write(`${head}\r\n\r\n`);
      socket.pipe(socket);
    });
  }

  async start(daemon: FakeDaemon): Promise<this> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    daemon.onConnect = async (engineId, port) => {
      await this.beforeConnect();
      if (port !== 3000) throw new EngineError('port_closed', 'nothing listens');
      this.dialled.push(engineId);
      const socket = connect((this.server.address() as AddressInfo).port, '127.0.0.1');
      await once(socket, 'connect');
      return socket;
    };
    daemon.onListening = () => Promise.resolve([{ port: 3000, addresses: ['127.0.0.1'] }]);
    return this;
  }

  /** Forgets what it has seen. */
  forget(): void {
    this.seen.length = 0;
    this.dialled.length = 0;
    this.beforeConnect = () => undefined;
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}

import { type IncomingMessage, request as httpRequest } from 'node:http';
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';

interface PreviewCall {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly body?: string;
}

export interface PreviewAnswer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

/** A visitor of a preview. Does not resolve its name: all names are on this machine. */
export class PreviewClient {
  private readonly host: string;
  private readonly port: number;

  /** @param url of a preview, as the API returns it */
  constructor(url: string) {
    const { host, port } = new URL(url);
    [this.host, this.port] = [host, Number(port)];
  }

  /** Sends a request. @returns the head of the response, whose body can be read */
  open(path: string, { method = 'GET', headers = {}, body }: PreviewCall = {}): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const host = { host: this.host, ...headers };
      const options = { host: '127.0.0.1', port: this.port, method, path, headers: host, agent: false } as const;
      const request = httpRequest(options);
      request.once('response', resolve);
      request.on('error', reject);
      request.end(body);
    });
  }

  async call(path: string, call: PreviewCall = {}): Promise<PreviewAnswer> {
    const response = await this.open(path, call);
    return { status: response.statusCode ?? 0, headers: response.headers, text: await text(response) };
  }

  /** Opens a WebSocket's connection. @returns the connection, or the response that refused it */
  upgrade(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Socket | IncomingMessage> {
    return new Promise((resolve, reject) => {
      const handshake = {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      };
      const all = { host: this.host, ...handshake, ...headers };
      const request = httpRequest({ host: '127.0.0.1', port: this.port, path, headers: all, agent: false });
      request.once('upgrade', (_response, socket) => resolve(socket));
      request.once('response', resolve);
      request.on('error', reject);
      request.end();
    });
  }
}

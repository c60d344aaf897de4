import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What a registry says instead of giving an image. */
export interface Refusal {
  readonly status: number;
  /** Of the distribution specification; a proxy before the registry gives none. */
  readonly code?: string;
  readonly message?: string;
}

/** A registry on this machine that refuses everything as it is told: what a real one cannot be brought to say. */
export class TinyRegistry {
  refusal: Refusal = { status: 404 };
  /** How often images were asked for. */
  asked = 0;
  private readonly server = createServer((request, response) => {
    if (request.url === '/v2/') return response.end('{}');
    // Docker asks by HEAD first, then by GET for the words.
    if (request.method === 'HEAD') this.asked += 1;
    const { status, ...error } = this.refusal;
    response.writeHead(status, { 'content-type': error.code ? 'application/json' : 'text/html' });
    return response.end(error.code ? JSON.stringify({ errors: [error] }) : '<html>');
  });

  listen(): Promise<void> {
    return new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve));
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  get reference(): string {
    return `127.0.0.1:${String((this.server.address() as AddressInfo).port)}/berth/refused:1`;
  }
}

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A registry's error response. */
export interface Refusal {
  readonly status: number;
  /** Of the distribution specification; a proxy in front of the registry sends none. */
  readonly code?: string;
  readonly message?: string;
}

/**
 * A registry on this machine that refuses every request with a given error, which a real registry cannot be made to
 * send.
 */
export class TinyRegistry {
  refusal: Refusal = { status: 404 };
  /** How often images were requested. */
  asked = 0;
  private readonly server = createServer((request, response) => {
    if (request.url === '/v2/') return response.end('{}');
    // Docker asks by HEAD first, then by GET for the error message.
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

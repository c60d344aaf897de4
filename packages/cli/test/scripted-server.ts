import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** Answers as it likes, whatever is asked, and keeps what it was sent. */
export class ScriptedServer {
  /** The tokens that it was sent, in order. */
  readonly tokens: (string | undefined)[] = [];

  private constructor(
    private readonly server: Server,
    readonly url: string,
    private readonly answers: Map<string, unknown>,
  ) {}

  /** @param answers by `GET /api/me` and the like: JSON, or a handler; anything else is not found */
  static async start(answers: Readonly<Record<string, unknown>>): Promise<ScriptedServer> {
    const found = new Map(Object.entries(answers));
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const scripted = new ScriptedServer(
      server,
      `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
      found,
    );
    server.on('request', (request, response) => scripted.answer(request, response));
    return scripted;
  }

  /** Answers otherwise from now on. */
  on(route: string, answer: unknown): void {
    this.answers.set(route, answer);
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    this.tokens.push(request.headers.authorization?.replace('Bearer ', ''));
    const { pathname } = new URL(request.url ?? '/', 'http://any');
    const answer = this.answers.get(`${request.method ?? ''} ${pathname}`);
    if (typeof answer === 'function') {
      (answer as Handler)(request, response);
      return;
    }
    response.statusCode = answer === undefined ? 404 : 200;
    response.setHeader('content-type', 'application/json');
    const refused = { error: 'container not found', code: 'container_not_found', request_id: 'r' };
    request.resume().once('end', () => response.end(JSON.stringify(answer ?? refused)));
  }
}

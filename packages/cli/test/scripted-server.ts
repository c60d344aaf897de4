import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server as LiveServer } from 'socket.io';

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** Answers as it likes, whatever is asked, and keeps what it was sent. */
export class ScriptedServer {
  /** The tokens that it was sent, in order. */
  readonly tokens: (string | undefined)[] = [];
  /** Such as `GET /api/me?a=b`, in order. */
  readonly requests: string[] = [];
  private sockets: LiveServer | undefined;

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

  /** Serves Socket.IO too. @returns what is connected */
  live(): LiveServer {
    this.sockets = new LiveServer(this.server, { serveClient: false });
    return this.sockets;
  }

  async stop(): Promise<void> {
    await this.sockets?.close();
    this.server.closeAllConnections();
    if (this.server.listening) await new Promise((resolve) => this.server.close(resolve));
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    this.requests.push(`${request.method ?? ''} ${request.url ?? ''}`);
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

export const CONTAINER_ID = '11111111-1111-4111-8111-111111111111';

/** A container as the API shows it. */
export const CONTAINER = {
  id: 'a'.repeat(64),
  db_id: CONTAINER_ID,
  name: 'dev',
  status: 'running',
  status_reason: null,
  image: 'berth/sandbox:1',
  role: null,
  role_status: null,
  labels: { team: 'core', gpu: '' },
  resources: { memory_mb: 512, cpu_shares: 500, disk_mb: 10_240 },
  network: { allow: ['203.0.113.7/32:443', '198.51.100.7/32:53/udp'] },
  user_id: '22222222-2222-4222-8222-222222222222',
  created_at: '2026-11-01T10:00:00.000Z',
  updated_at: '2026-11-01T10:00:00.000Z',
  last_used_at: '2026-11-01T11:00:00.000Z',
  idle_seconds: 60,
  expires_at: null,
  auto_stop_seconds: null,
  idle_action: null,
  auto_delete_seconds: 604_800,
  lifetime_seconds: null,
  end_action: 'stop',
  ends_at: null,
  auto_start: false,
  ip_address: null,
  runtime: 'runsc',
  start: {
    command: ['sh', '-c', 'node server.js'],
    restart: 'on-failure',
    ready: { port: 8080, within_seconds: 60 },
  },
  ready: true,
  template: null,
} as const;

/** The answer of `GET /api/me`. */
export const ME = {
  user: { id: CONTAINER.user_id, username: 'ada', tier: 'free' },
  tier: 'free',
  limits: {
    containers: 5,
    agents: 2,
    snapshots: 10,
    snapshot_mb: 20_480,
    webhooks: 3,
    min: { memory_mb: 256, cpu_shares: 250, disk_mb: 1_024 },
    max: { memory_mb: 2_048, cpu_shares: 2_000, disk_mb: 20_480 },
    network: 'internet',
    processes: 256,
    exec: true,
    public_previews: false,
    session_seconds: null,
    session_once: false,
    auto_stop_seconds: 28_800,
    idle_action: 'stop',
    auto_delete_seconds: null,
  },
  usage: { containers: 1, agents: 0 },
  scopes: ['read', 'write', 'exec'],
  session: null,
} as const;

/** The answer of `GET /api/containers/:id/stats`. */
export const STATS = {
  at: '2026-11-01T10:00:00.000Z',
  cpu: { percent_of_limit: 12.5, throttled_percent: 0 },
  memory: { used_bytes: 64 * 2 ** 20, limit_bytes: 512 * 2 ** 20 },
  pids: null,
  network: { rx_bytes: 1_024, tx_bytes: 2_048 },
} as const;

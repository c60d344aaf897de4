import { io, type Socket } from 'socket.io-client';
import { z } from 'zod';
import type { AgentStats } from '../agents/agent-protocol';
import type { Logger } from '../logging';

const SHORTEST_MS = 1_000;
const LONGEST_MS = 30_000;

/**
 * The pause before the next attempt. Its maximum doubles each time, up to 30 seconds; the pause is a random value
 * between half of the maximum and the maximum, so that the agents of a restarted server do not all reconnect at once.
 */
export class ReconnectPause {
  private attempts = 0;

  constructor(private readonly random: () => number = Math.random) {}

  /** The connection works: resets the backoff. */
  reset(): void {
    this.attempts = 0;
  }

  /** @returns milliseconds */
  next(): number {
    const longest = Math.min(SHORTEST_MS * 2 ** Math.min(this.attempts, 10), LONGEST_MS);
    this.attempts += 1;
    return Math.round(longest * (0.5 + this.random() / 2));
  }
}

/** Why the agent ends. */
export type AgentEnd = 'told_to' | 'refused' | 'replaced';

interface AgentLinkOptions {
  /** Scheme, host and port of the Berth. */
  readonly url: string;
  readonly token: string;
  /** The agent's data about itself when it connects. */
  readonly hello: Readonly<Record<string, string>>;
  readonly report: () => AgentStats;
  readonly logger: Logger;
}

/** Refusals for which a retry is useless: the agent is deleted, or the token is revoked or not an agent's. */
const FINAL_REFUSALS: ReadonlySet<string> = new Set(['unauthorized', 'insufficient_permissions']);
const ANSWER_MS = 10_000;

const welcome = z.object({ id: z.string(), name: z.string(), heartbeat_seconds: z.number().min(1).max(600) });
const refusal = z.object({ data: z.object({ code: z.string() }) });
const answer = z.object({ ok: z.literal(true) });

/** Keeps an agent connected until it is told to end or the server refuses it for good. */
export class AgentLink {
  private readonly socket: Socket;
  private readonly pause = new ReconnectPause();
  private heart: NodeJS.Timeout | undefined;
  private waiting: NodeJS.Timeout | undefined;
  private settle: (end: AgentEnd) => void = () => undefined;
  private over = false;

  constructor(private readonly options: AgentLinkOptions) {
    const { url, token, hello } = options;
    this.socket = io(`${url}/agents`, {
      auth: { ...hello, token },
      // Long polling needs the same server process for every request, which a load balancer does not guarantee.
      transports: ['websocket'],
      // Own reconnection for all cases: Socket.IO's does not handle refusals.
      reconnection: false,
      autoConnect: false,
    });
  }

  /** Connects and stays connected. @returns the reason for the end; never throws */
  run(): Promise<AgentEnd> {
    const { socket } = this;
    socket.on('welcome', (message: unknown) => this.welcomed(message));
    socket.on('replaced', () => this.end('replaced'));
    socket.on('connect_error', (error) => this.notConnected(error));
    socket.on('disconnect', (reason) => this.lost(reason));
    const ended = new Promise<AgentEnd>((resolve) => (this.settle = resolve));
    socket.connect();
    return ended;
  }

  /** Disconnects properly, so that the server does not have to wait for silence. */
  end(why: AgentEnd): void {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.waiting);
    clearInterval(this.heart);
    this.socket.disconnect();
    this.settle(why);
  }

  private welcomed(message: unknown): void {
    const { data } = welcome.safeParse(message);
    if (!data) {
      this.options.logger.warn("the server's messages are not understood by this version of the agent");
      return;
    }
    this.options.logger.info({ agent_id: data.id, name: data.name }, 'connected');
    clearInterval(this.heart);
    this.heart = setInterval(() => this.beat(), data.heartbeat_seconds * 1000);
    this.beat();
  }

  private beat(): void {
    const { logger, report } = this.options;
    this.socket.timeout(ANSWER_MS).emit('heartbeat', report(), (late: Error | null, reply: unknown) => {
      // Also called for heartbeats that were lost with a broken connection, whose end is already reported.
      if (late || !this.socket.connected) return;
      if (answer.safeParse(reply).success) this.pause.reset();
      else logger.warn({ answer: reply }, 'the server could not store a report');
    });
  }

  private notConnected(error: Error): void {
    const code = refusal.safeParse(error).data?.data.code;
    if (code !== undefined && FINAL_REFUSALS.has(code)) {
      this.end('refused');
      return;
    }
    this.retry(code === undefined ? 'the server is unreachable' : 'the server does not accept agents at the moment', {
      reason: code ?? error.message,
    });
  }

  private lost(reason: string): void {
    clearInterval(this.heart);
    this.retry('disconnected', { reason });
  }

  private retry(what: string, details: { readonly reason: string }): void {
    if (this.over) return;
    const pauseMs = this.pause.next();
    this.options.logger.warn({ ...details, retry_in_ms: pauseMs }, what);
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.socket.connect(), pauseMs);
  }
}

import { Inject, Logger } from '@nestjs/common';
import { OnGatewayConnection, OnGatewayInit, WebSocketGateway } from '@nestjs/websockets';
import type { DefaultEventsMap, Namespace } from 'socket.io';
import { OpenConnections, Principal } from '../auth';
import { type Config, CONFIG } from '../config';
import { DomainError } from '../errors';
import { admitSockets, ConnectionRefused, tokenOf } from '../events';
import { Draining } from '../http';
import { SocketLimits } from '../rate-limits';
import { Clock } from '../scheduling';
import { AgentConnection, AgentSocket, AgentSocketData } from './agent-connection';
import { AgentConnections } from './agent-connections';
import { helloOf } from './agent-protocol';
import { AgentRepository } from './agent.repository';

type AgentServer = Namespace<DefaultEventsMap, DefaultEventsMap, DefaultEventsMap, AgentSocketData>;

/** Maximum milliseconds between two writes of an agent's heartbeats, however often it sends them. */
const LONGEST_WRITE_GAP_MS = 5_000;

/** The Socket.IO namespace of agents. Each connects with its own token. */
@WebSocketGateway({ namespace: '/agents' })
export class AgentsGateway implements OnGatewayInit<AgentServer>, OnGatewayConnection<AgentSocket> {
  private readonly logger = new Logger(AgentsGateway.name);

  constructor(
    private readonly limits: SocketLimits,
    private readonly open: OpenConnections,
    private readonly repository: AgentRepository,
    private readonly connections: AgentConnections,
    private readonly draining: Draining,
    private readonly clock: Clock,
    @Inject(CONFIG) private readonly config: Pick<Config, 'AGENT_HEARTBEAT_SECONDS'>,
  ) {}

  afterInit(server: AgentServer): void {
    admitSockets<AgentSocket>(server, {
      open: this.open,
      admit: (socket) => this.admit(socket),
      connected: ({ data: { connection } }) => ({
        token: { tokenId: connection.agent.tokenId, tokenExpiresAt: null },
        end: () => void setImmediate(() => connection.dismiss()),
      }),
      onFault: (error) => this.logger.error({ msg: 'an agent could not be let in', err: error }),
    });
  }

  handleConnection(socket: AgentSocket): void {
    const { connection } = socket.data;
    const { agent } = connection;
    // Without a listener, Socket.IO prints packets that it cannot decode.
    socket.on('error', () => undefined);
    socket.on('heartbeat', (...message: unknown[]) => {
      const [payload, answer] = typeof message[0] === 'function' ? [undefined, message[0]] : message;
      void connection.heartbeat(payload).then((reply) => {
        if (reply && typeof answer === 'function') (answer as (reply: object) => void)(reply);
      });
    });
    socket.once('disconnect', () => void this.connections.leave(connection));
    const { AGENT_HEARTBEAT_SECONDS: heartbeat_seconds } = this.config;
    socket.emit('welcome', { id: `agent:${agent.id}`, name: agent.name, heartbeat_seconds });
    connection.begin();
  }

  /**
   * Authenticates the agent before it is connected, and records the connection, so that a connected agent is online.
   *
   * @throws DomainError
   */
  private async admit(socket: AgentSocket): Promise<void> {
    if (this.draining.begun) {
      socket.conn.close(true);
      throw new ConnectionRefused(new DomainError('shutting_down'));
    }
    const auth: unknown = socket.handshake.auth;
    const { agentId, userId } = await this.agentBehind(socket);
    const hello = helloOf(auth);
    const agent = await this.repository.connect({ id: agentId, userId }, { hello, now: this.clock.now() });
    if (!agent) throw new DomainError('unauthorized');
    const connection = new AgentConnection(socket, agent, {
      repository: this.repository,
      clock: this.clock,
      writeGapMs: Math.min(LONGEST_WRITE_GAP_MS, this.config.AGENT_HEARTBEAT_SECONDS * 500),
    });
    socket.data = { connection };
    this.followTransport(socket, connection);
  }

  /** @throws DomainError */
  private async agentBehind({ handshake, request }: AgentSocket): Promise<{ agentId: string; userId: string }> {
    const token = tokenOf(handshake.auth);
    const principal: Principal | null = token === null ? null : await this.limits.verify(request, token);
    if (!principal) throw new DomainError('unauthorized');
    const { agentId, userId, scopes } = principal;
    if (agentId === null || !scopes.includes('agent')) throw new DomainError('insufficient_permissions');
    return { agentId, userId };
  }

  /**
   * Registers the connection. If the transport closes before the socket is connected, there is no `disconnect` event.
   */
  private followTransport(socket: AgentSocket, connection: AgentConnection): void {
    const leave = () => void this.connections.leave(connection);
    if (socket.conn.readyState !== 'open' || this.draining.begun) {
      connection.breakOff();
      leave();
      return;
    }
    this.connections.add(connection);
    socket.conn.once('close', leave);
    socket.once('disconnect', () => socket.conn.off('close', leave));
  }
}

import type { AgentView } from '../../../src/agents';
import type { TestUser } from '../servers/berth';
import { noteMessage } from './described';
import { eventually } from '../eventually';
import { SocketClient } from './socket-client';

/** An agent as returned by its creation. */
export interface NewAgent {
  /** `agent:…` */
  readonly id: string;
  readonly name: string;
  readonly token: string;
}

export async function newAgent(user: TestUser, body: Readonly<Record<string, unknown>> = {}): Promise<NewAgent> {
  const answer = await user.api.call('POST', '/api/agents', { name: 'workstation', ...body });
  if (answer.status !== 201) throw new Error(`no agent: ${JSON.stringify(answer.body)}`);
  return answer.body as unknown as NewAgent;
}

/** The agents of `GET /api/agents`. */
export async function agentsOf(user: TestUser): Promise<AgentView[]> {
  return (await user.api.call('GET', '/api/agents')).body['agents'] as AgentView[];
}

/** A standard Socket.IO client that acts as an agent. */
export class AgentClient extends SocketClient {
  /** How often it has connected so far. */
  connects = 0;

  constructor(url: string, agent: Pick<NewAgent, 'token'>, auth: Readonly<Record<string, unknown>> = {}) {
    super(`${url}/agents`, { token: agent.token, ...auth });
    this.socket.on('connect', () => (this.connects += 1));
    this.socket.onAny((name: string, payload: unknown = null) => noteMessage('agents', name, payload));
  }

  heartbeat(payload: unknown): Promise<unknown> {
    return this.socket.timeout(30_000).emitWithAck('heartbeat', payload);
  }

  async connectedAgain(times: number): Promise<void> {
    await eventually(() => {
      expect(this.connects).toBeGreaterThanOrEqual(times);
      expect(this.socket.connected).toBe(true);
    });
  }
}

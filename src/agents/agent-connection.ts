import { Logger } from '@nestjs/common';
import type { DefaultEventsMap, Socket } from 'socket.io';
import { ERRORS } from '../errors';
import { Clock } from '../scheduling';
import type { AgentRow } from './agent.entity';
import { AgentRepository } from './agent.repository';
import { parseHeartbeat } from './agent-protocol';
import { endReason } from './presence';

type HeartbeatAnswer = { readonly ok: true } | { readonly error: string; readonly code: string };

export interface AgentSocketData {
  connection: AgentConnection;
}
export type AgentSocket = Socket<DefaultEventsMap, DefaultEventsMap, DefaultEventsMap, AgentSocketData>;

/** One agent's connection to this process. A later connection, here or to another process, takes its place. */
export class AgentConnection {
  private static readonly logger = new Logger(AgentConnection.name);
  private wroteAt = -Infinity;
  private ended: Promise<void> | undefined;
  private isDismissed = false;

  constructor(
    private readonly socket: AgentSocket,
    /** The row as of the connection. */
    readonly agent: AgentRow,
    private readonly options: {
      readonly repository: AgentRepository;
      readonly clock: Clock;
      /** Minimum milliseconds between two writes of heartbeats; earlier ones are skipped. */
      readonly writeGapMs: number;
    },
  ) {}

  /** Handles a `heartbeat`. An invalid one does not count as a sign of life. @returns null if the connection is over */
  async heartbeat(payload: unknown): Promise<HeartbeatAnswer | null> {
    const stats = parseHeartbeat(payload);
    if (!stats) return refusal('invalid_parameters');
    if (performance.now() - this.wroteAt < this.options.writeGapMs) return { ok: true };
    this.wroteAt = performance.now();
    const { repository, clock } = this.options;
    const { id, epoch } = this.agent;
    try {
      if (await repository.beat({ id, epoch, stats, now: clock.now() })) return { ok: true };
      await this.review();
      return null;
    } catch (error) {
      AgentConnection.logger.warn({ msg: 'a sign of life could not be written', agent_id: id, err: error });
      return refusal('internal_error');
    }
  }

  /** Reads the row again, and ends the connection if it no longer belongs to the row's epoch. Does not throw. */
  async review(): Promise<void> {
    try {
      this.obey(endReason(await this.options.repository.find(this.agent.id), this.agent.epoch));
    } catch (error) {
      // The next heartbeat runs this check again.
      AgentConnection.logger.warn({ msg: 'an agent could not be looked up', agent_id: this.agent.id, err: error });
    }
  }

  /** Breaks the connection below the socket. A standard client takes this for an accident, and reconnects by itself. */
  breakOff(): void {
    this.socket.conn.close(true);
  }

  /** Ends the connection such that a standard client does not reconnect. */
  dismiss(): void {
    this.isDismissed = true;
    this.socket.disconnect(true);
  }

  /** Call it once the socket is connected: repeats an earlier `dismiss`, which had no effect before. */
  begin(): void {
    if (this.isDismissed) this.dismiss();
  }

  /** Records that the connection is over, unless another one has taken its place. Does not throw; runs once. */
  end(): Promise<void> {
    return (this.ended ??= this.noteEnd());
  }

  private obey(said: ReturnType<typeof endReason>): void {
    if (said === 'go_on') return;
    AgentConnection.logger.log({ msg: 'an agent’s connection is over', agent_id: this.agent.id, verdict: said });
    if (said === 'replaced') this.socket.emit('replaced');
    if (said === 'come_back') this.breakOff();
    else this.dismiss();
  }

  private async noteEnd(): Promise<void> {
    try {
      await this.options.repository.disconnect(this.agent, { reason: 'closed', epoch: this.agent.epoch });
    } catch (error) {
      // `SilenceSweep` will find the agent silent.
      AgentConnection.logger.warn({
        msg: 'the end of an agent could not be noted',
        agent_id: this.agent.id,
        err: error,
      });
    }
  }
}

function refusal(code: 'invalid_parameters' | 'internal_error'): HeartbeatAnswer {
  return { error: ERRORS[code].message, code };
}

import { Injectable } from '@nestjs/common';
import { Counter, Gauge } from 'prom-client';
import { Metrics } from '../metrics';

/** What a client does with a channel. */
export type ChannelKind = 'terminal' | 'command' | 'sftp' | 'forward';

/** Why a connection was not admitted, or `ok`. */
export type LoginOutcome = 'ok' | 'refused' | 'late' | 'too_many' | 'rate_limit_exceeded' | 'failed';

/** Metrics of SSH in this process. */
@Injectable()
export class SshMetrics {
  private readonly open: Gauge<'kind'>;
  private readonly ended: Counter<'kind' | 'outcome'>;
  private readonly logins: Counter<'outcome'>;

  constructor({ registry }: Metrics) {
    const registers = [registry];
    this.open = new Gauge({
      name: 'berth_ssh_channels',
      help: 'Open terminals, commands, SFTP sessions and forwarded connections over SSH.',
      labelNames: ['kind'] as const,
      registers,
    });
    this.ended = new Counter({
      name: 'berth_ssh_channels_total',
      help:
        'Completed terminals, commands, SFTP sessions and forwarded connections over SSH: ok, or the reason of the ' +
        'failure.',
      labelNames: ['kind', 'outcome'] as const,
      registers,
    });
    this.logins = new Counter({
      name: 'berth_ssh_logins_total',
      help: 'Connections to the SSH server: ok after a login, or the reason of the failure.',
      labelNames: ['outcome'] as const,
      registers,
    });
  }

  /** @returns a function to be called at the end, with the code of the error or `ok` */
  begin(kind: ChannelKind): (outcome: string) => void {
    this.open.inc({ kind });
    return (outcome) => {
      this.open.dec({ kind });
      this.ended.inc({ kind, outcome });
    };
  }

  noteLogin(outcome: LoginOutcome): void {
    this.logins.inc({ outcome });
  }
}

import { Injectable } from '@nestjs/common';
import { Counter, Gauge } from 'prom-client';
import { Metrics } from '../metrics';

type Kind = 'request' | 'websocket';

/** Metrics of previews in this process. */
@Injectable()
export class PreviewMetrics {
  private readonly open: Gauge<'kind'>;
  private readonly ended: Counter<'kind' | 'outcome'>;
  private readonly bytes: Counter;

  constructor({ registry }: Metrics) {
    const registers = [registry];
    this.open = new Gauge({
      name: 'berth_preview_connections',
      help: 'Open requests and WebSockets of previews.',
      labelNames: ['kind'] as const,
      registers,
    });
    this.ended = new Counter({
      name: 'berth_preview_requests_total',
      help: 'Completed requests and WebSockets of previews: ok, or the reason of the failure.',
      labelNames: ['kind', 'outcome'] as const,
      registers,
    });
    this.bytes = new Counter({
      name: 'berth_preview_bytes_total',
      help: 'Bytes of bodies and WebSockets transferred by previews in both directions.',
      registers,
    });
  }

  /** @returns a function to be called at the end, with the code of the error or `ok` */
  begin(kind: Kind): (outcome: string) => void {
    this.open.inc({ kind });
    return (outcome) => {
      this.open.dec({ kind });
      this.ended.inc({ kind, outcome });
    };
  }

  count(bytes: number): void {
    this.bytes.inc(bytes);
  }
}

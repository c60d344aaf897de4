import { Injectable } from '@nestjs/common';
import { Counter, Gauge } from 'prom-client';
import { EventLog, EventsGateway } from '../events';
import { Metrics } from './metrics';

/** Counts the events that this process has committed, and the sockets that follow events through it. */
@Injectable()
export class EventMetrics {
  constructor({ registry }: Metrics, log: EventLog, gateway: EventsGateway) {
    const events = new Counter({
      name: 'berth_events_total',
      help: 'Events committed by this process.',
      labelNames: ['type'] as const,
      registers: [registry],
    });
    log.onCommitted((_userId, committed) => {
      for (const { type } of committed) events.inc({ type });
    });
    new Gauge({
      name: 'berth_sockets',
      help: 'Socket.IO connections to this process that follow events.',
      registers: [registry],
      collect() {
        this.set(gateway.socketCount);
      },
    });
  }
}

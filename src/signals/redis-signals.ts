import { randomUUID } from 'node:crypto';
import { LocalSignals } from './local-signals';
import { RedisConnection } from './redis-connection';
import { parseSignal, SignalEnvelope } from './signal-envelope';
import { SignalMap, SignalName, Signals } from './signals';

/** Ids are unguessable and unique, so Berths that share one Redis can share the channel. */
const CHANNEL = 'berth:signals';

/** Signals between processes over Redis. Delivery within this process never depends on Redis. */
export class RedisSignals extends Signals {
  private readonly local = new LocalSignals();
  private readonly origin = randomUUID();

  constructor(private readonly redis: RedisConnection) {
    super();
    redis.subscribe(CHANNEL, (message) => {
      this.receive(message);
    });
  }

  override publish<S extends SignalName>(name: S, payload: SignalMap[S]): void {
    this.local.publish(name, payload);
    const envelope: SignalEnvelope<S> = { origin: this.origin, name, payload };
    this.redis.publish(CHANNEL, JSON.stringify(envelope));
  }

  override on<S extends SignalName>(name: S, listener: (payload: SignalMap[S]) => void): () => void {
    return this.local.on(name, listener);
  }

  private receive(message: string): void {
    const signal = parseSignal(message);
    // Redis sends our own messages back to us; they were delivered before they were sent.
    if (signal && signal.origin !== this.origin) this.local.publish(signal.name, signal.payload);
  }
}

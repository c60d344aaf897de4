import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { LocalSignals, SignalMap, SignalType, Signals } from './signals';
import { RedisConnection } from './redis-connection';

const id = z.string().min(1).max(64);

const payloads: { readonly [S in SignalType]: z.ZodType<SignalMap[S]> } = {
  user_events: z.object({ userId: id, seq: z.int().min(0) }),
  token_revoked: z.object({ tokenId: id }),
  user_suspended: z.object({ userId: id }),
  user_moved: z.object({ userId: id }),
  container_released: z.object({ containerId: id }),
  agent_epoch: z.object({ agentId: id, epoch: z.int().min(0) }),
  previews_changed: z.object({ containerId: id }),
  operation_cancelled: z.object({ containerId: id }),
  terminal_written: z.object({ terminalId: id, holder: id }),
  webhook_changed: z.object({ webhookId: id }),
};

const envelope = z.object({
  origin: id,
  name: z.custom<SignalType>((name) => typeof name === 'string' && Object.hasOwn(payloads, name)),
  payload: z.unknown(),
});

/** A signal on its way between processes; `origin` names the process that published it. */
interface SignalEnvelope<S extends SignalType = SignalType> {
  readonly origin: string;
  readonly name: S;
  readonly payload: SignalMap[S];
}

/** Longer than any of Berth's signals; a longer message is not parsed. */
const LONGEST_MESSAGE = 1024;

/**
 * @returns null if the message is not one of Berth's signals: every client of the Redis server can publish anything
 */
export function parseSignal(message: string): SignalEnvelope | null {
  if (message.length > LONGEST_MESSAGE) return null;
  const { data } = envelope.safeParse(parseJson(message));
  if (!data) return null;
  const payload = payloads[data.name].safeParse(data.payload);
  return payload.success ? { origin: data.origin, name: data.name, payload: payload.data } : null;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

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

  override publish<S extends SignalType>(name: S, payload: SignalMap[S]): void {
    this.local.publish(name, payload);
    const envelope: SignalEnvelope<S> = { origin: this.origin, name, payload };
    this.redis.publish(CHANNEL, JSON.stringify(envelope));
  }

  override on<S extends SignalType>(name: S, listener: (payload: SignalMap[S]) => void): () => void {
    return this.local.on(name, listener);
  }

  private receive(message: string): void {
    const signal = parseSignal(message);
    // Redis sends our own messages back to us; they were delivered before they were sent.
    if (signal && signal.origin !== this.origin) this.local.publish(signal.name, signal.payload);
  }
}

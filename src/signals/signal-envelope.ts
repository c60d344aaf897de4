import { z } from 'zod';
import { SignalMap, SignalName } from './signals';

const id = z.string().min(1).max(64);

const payloads: { readonly [S in SignalName]: z.ZodType<SignalMap[S]> } = {
  user_events: z.object({ userId: id, seq: z.int().min(0) }),
  token_revoked: z.object({ tokenId: id }),
  container_released: z.object({ containerId: id }),
  agent_epoch: z.object({ agentId: id, epoch: z.int().min(0) }),
  operation_cancelled: z.object({ containerId: id }),
};

const envelope = z.object({
  origin: id,
  name: z.custom<SignalName>((name) => typeof name === 'string' && Object.hasOwn(payloads, name)),
  payload: z.unknown(),
});

/** A signal on its way between processes; `origin` names the process that published it. */
export interface SignalEnvelope<S extends SignalName = SignalName> {
  readonly origin: string;
  readonly name: S;
  readonly payload: SignalMap[S];
}

/** Longer than any signal of ours; what is longer is not worth parsing. */
const LONGEST_MESSAGE = 1024;

/** @returns null for all that is not one of our signals: whoever shares the Redis server can publish anything */
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

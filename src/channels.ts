import { AGENT_CHANNEL } from './agents';
import { EVENT_CHANNEL } from './events';
import type { AsyncChannel } from './http';
import { TERMINAL_CHANNELS } from './sandbox';
import { WEBHOOK_CHANNEL } from './webhooks';

/** All connections other than requests with a response, for the AsyncAPI document. */
export const CHANNELS: readonly AsyncChannel[] = [EVENT_CHANNEL, ...TERMINAL_CHANNELS, AGENT_CHANNEL, WEBHOOK_CHANNEL];

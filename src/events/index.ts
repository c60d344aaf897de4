export { EVENT_CHANNEL } from './event-channel';
export { EVENT_TYPES } from './event-schemas';
export { EventsGateway } from './events.gateway';
export { admitSockets, ConnectionRefused, tokenOf } from './socket-admission';
export { EventsModule } from './events.module';
export { EventFeed, type Subscription } from './feed';
export { BerthIoAdapter } from './io-adapter';
export { EventLog, UNDISTURBED } from './log';
export {
  containerIdOf,
  type AgentFacts,
  type BerthEvent,
  type ContainerFacts,
  type EventDraft,
  type ProcessFacts,
  subjectOf,
  type SnapshotFacts,
  type WebhookFacts,
} from './map';

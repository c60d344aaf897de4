export { containerIdOf } from './event-map';
export { EventFeed } from './event-feed';
export type { Subscription } from './event-feed';
export { EventLog } from './event-log';
export type { AgentFacts, BerthEvent, ContainerFacts, EventDraft, EventMap, EventType } from './event-map';
export { EventsModule } from './events.module';
export { BerthIoAdapter } from './io-adapter';
export type { SubscribeOptions } from './subscriber';

export { EventLog } from './event-log';
export type { BerthEvent, ContainerFacts, EventDraft, EventMap, EventType } from './event-map';

import type { BerthEvent, ContainerFacts } from '../../../src/events';

/** The state of a client that has followed every event: each event's facts are the container's newest. By `db_id`. */
export function replay(events: readonly BerthEvent[]): Map<string, ContainerFacts> {
  const known = new Map<string, ContainerFacts>();
  for (const { type, data } of events) {
    if (!('db_id' in data)) continue;
    if (type === 'container_deleted') known.delete(data.db_id);
    else known.set(data.db_id, data);
  }
  return known;
}

import type { SystemAct } from '../audit';
import type { EventDraft } from '../events';
import type { ContainerRow } from './container.entity';

/** Stops that Berth carries out by itself, by the reason that the event gives. */
const ACTIONS = { session_expired: 'container.expire', idle: 'container.stop_idle' } as const;

const isActed = (reason: string | undefined): reason is keyof typeof ACTIONS =>
  reason !== undefined && Object.hasOwn(ACTIONS, reason);

/** What of these events was Berth's own doing, for the audit. */
export function systemActs(
  { id, userId }: Pick<ContainerRow, 'id' | 'userId'>,
  events: readonly EventDraft[],
): SystemAct[] {
  return events.flatMap((event) => {
    const reason = event.type === 'container_stopped' ? event.data.reason : undefined;
    return isActed(reason) ? [{ action: ACTIONS[reason], subjectUserId: userId, containerId: id }] : [];
  });
}

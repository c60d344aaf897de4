import type { AuditOutcome } from './audit-log';

/** What fits the column and every reader's screen; an id of ours always does. */
const SHOWABLE = /^[A-Za-z0-9:_.-]{1,128}$/;

/** The id that a request names; null where it names none, or something that is none of ours. */
export function namedTarget(params: unknown): string | null {
  return showable(fieldOf(params, 'id'));
}

/** The id of what a route has made, and of who was let in by it: the answer tells. */
export function madeTarget(answer: unknown): Partial<AuditOutcome> {
  const containerId = showable(fieldOf(answer, 'db_id'));
  const user = showable(fieldOf(fieldOf(answer, 'user'), 'id'));
  const targetId = showable(fieldOf(answer, 'id')) ?? user;
  return {
    ...(containerId !== null && { containerId }),
    ...(targetId !== null && { targetId }),
    ...(user !== null && { userId: user, subjectUserId: user }),
  };
}

function showable(value: unknown): string | null {
  return typeof value === 'string' && SHOWABLE.test(value) ? value : null;
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

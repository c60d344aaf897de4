import { DomainError } from '../errors';
import { requestContext } from '../logging';
import type { ContainerRow } from './container.entity';

/** Adds the container and its owner to the request's context. */
export function noteSubject(row: Pick<ContainerRow, 'id' | 'userId'>): void {
  const context = requestContext.getStore();
  if (context) Object.assign(context, { containerId: row.id, subjectUserId: row.userId });
}

/** Adds the container to the request's context. @throws DomainError `not_authorized` if it is another user's */
export function assertOwner(caller: { readonly userId: string }, row: Pick<ContainerRow, 'id' | 'userId'>): void {
  noteSubject(row);
  if (row.userId !== caller.userId) throw new DomainError('not_authorized');
}

/** @throws DomainError `guest_session_expired` if the caller is a guest whose session is over */
export function assertSession({ sessionExpiresAt }: { readonly sessionExpiresAt: Date | null }, now: Date): void {
  if (sessionExpiresAt !== null && sessionExpiresAt <= now) throw new DomainError('guest_session_expired');
}

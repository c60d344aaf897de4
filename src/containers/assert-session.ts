import { DomainError } from '../errors';

/** @throws DomainError `guest_session_expired` if the caller is a guest whose session is over */
export function assertSession({ sessionExpiresAt }: { readonly sessionExpiresAt: Date | null }, now: Date): void {
  if (sessionExpiresAt !== null && sessionExpiresAt <= now) throw new DomainError('guest_session_expired');
}

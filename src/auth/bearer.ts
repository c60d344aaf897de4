import { BEARER_CHALLENGE, DomainError } from '../errors';

/** One scheme in any case, at least one space, and one word (RFC 9110, 11.4; RFC 6750, 2.1). */
const BEARER = /^Bearer +([^ ]+)$/i;

/** The token of `Authorization: Bearer TOKEN`; null if the header is absent or has another form. */
export function bearerToken(authorization: string | undefined): string | null {
  return BEARER.exec(authorization ?? '')?.[1] ?? null;
}

/** True if the client tried to authenticate with a token, well-formed or not. */
export function isBearer(authorization: string | undefined): boolean {
  return /^Bearer(?: |$)/i.test(authorization ?? '');
}

/** @returns the 401 for a token that is unknown, revoked or expired (RFC 6750, 3.1) */
export function invalidToken(): DomainError {
  return new DomainError('unauthorized', {
    headers: { 'www-authenticate': `${BEARER_CHALLENGE}, error="invalid_token"` },
  });
}

/** @returns the 403 for a token that lacks one of these scopes (RFC 6750, 3.1) */
export function insufficientScope(...scopes: readonly string[]): DomainError {
  const named = scopes.length > 0 ? `, scope="${scopes.join(' ')}"` : '';
  return new DomainError('insufficient_permissions', {
    headers: { 'www-authenticate': `${BEARER_CHALLENGE}, error="insufficient_scope"${named}` },
  });
}

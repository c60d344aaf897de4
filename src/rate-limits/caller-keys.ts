import { hash } from 'node:crypto';
import { normalizeIP } from '@fastify/rate-limit';

/** Longer than any address; what a proxy passes on need not be one. */
const LONGEST_ADDRESS = 64;

/** What a token is counted by: never the token itself, which must not get into Redis. */
export function tokenKey(token: string): string {
  return hash('sha256', token, 'base64url');
}

/** What an address is counted by: an IPv6 network of 64 bits is one caller, as anyone who has one has all its addresses. */
export function addressKey(address: string | undefined): string {
  return address === undefined || address === '' ? 'unknown' : normalizeIP(address.slice(0, LONGEST_ADDRESS));
}

/** The token of `Authorization: Bearer TOKEN`, as the guard reads it; null if it is anything else. */
export function bearerToken(authorization: string | undefined): string | null {
  return /^Bearer ([^ ]+)$/i.exec(authorization ?? '')?.[1] ?? null;
}

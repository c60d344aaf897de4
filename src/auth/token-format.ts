import { hash as oneShotHash, randomBytes } from 'node:crypto';

const FORMAT = /^berth_[0-9a-f]{64}$/;

/** A token before it is given away: `text` is shown once, `hash` is kept. */
export interface MintedToken {
  readonly text: string;
  readonly hash: string;
  readonly prefix: string;
}

/** @returns a new token of 256 random bits from the operating system's generator */
export function mintToken(): MintedToken {
  const text = `berth_${randomBytes(32).toString('hex')}`;
  return { text, hash: hashToken(text), prefix: text.slice(0, 12) };
}

/** Whether the text could be a token at all; what could not never reaches the database. */
export function isTokenFormat(text: string): boolean {
  return FORMAT.test(text);
}

/** SHA-256 as 64 hex. No salt and no slow hash: 256 random bits cannot be guessed, and the lookup needs an index. */
export function hashToken(text: string): string {
  return oneShotHash('sha256', text, 'hex');
}

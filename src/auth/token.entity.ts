import { hash as oneShotHash, randomBytes } from 'node:crypto';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

/** An API token. Only its SHA-256 is stored. */
@Entity('tokens')
export class TokenEntity {
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id: string;

  @Index('tokens_user_id')
  @Column({ name: 'user_id', type: 'varchar', length: 36 })
  userId: string;

  @Column({ type: 'varchar', length: 64 })
  name: string;

  /** SHA-256 of the token, 64 hex. */
  @Column({ type: 'varchar', length: 64, unique: true })
  hash: string;

  /** The token's first 12 characters, to recognize it. */
  @Column({ type: 'varchar', length: 12 })
  prefix: string;

  @Column({ type: 'simple-json' })
  scopes: string[];

  /** The agent that the token belongs to; null for API tokens. */
  @Column({ name: 'agent_id', type: 'varchar', length: 36, nullable: true })
  agentId: string | null;

  /** The only container that the token opens; null: all of the user's. */
  @Index('tokens_container_id', { where: 'container_id IS NOT NULL' })
  @Column({ name: 'container_id', type: 'varchar', length: 36, nullable: true })
  containerId: string | null;

  /** Whether a token for one container also opens its forks. */
  @Column({ name: 'with_forks', type: 'boolean', default: false })
  withForks: boolean;

  @Column({ name: 'created_at', type: TIMESTAMP })
  createdAt: Date;

  /** null if the token does not expire. */
  @Column({ name: 'expires_at', type: TIMESTAMP, nullable: true })
  expiresAt: Date | null;

  @Column({ name: 'revoked_at', type: TIMESTAMP, nullable: true })
  revokedAt: Date | null;
}

/** Forms of a token's text: Berth's own, and the form that E2B's clients require. */
export const TOKEN_FORMATS = ['berth', 'e2b'] as const;
export type TokenFormat = (typeof TOKEN_FORMATS)[number];

const FORMAT = /^(?:berth_[0-9a-f]{64}|e2b_[0-9a-f]{40})$/;
const RANDOM_BYTES: Readonly<Record<TokenFormat, number>> = { berth: 32, e2b: 20 };

/** A new token: `text` is shown once, `hash` is stored. */
interface MintedToken {
  readonly text: string;
  readonly hash: string;
  readonly prefix: string;
}

/** @returns a new token of 256 random bits from the operating system's generator; in E2B's form of 160 */
export function mintToken(format: TokenFormat = 'berth'): MintedToken {
  const text = `${format}_${randomBytes(RANDOM_BYTES[format]).toString('hex')}`;
  return { text, hash: hashToken(text), prefix: text.slice(0, 12) };
}

/** True if the text has the form of a token; other text never reaches the database. */
export function isTokenFormat(text: string): boolean {
  return FORMAT.test(text);
}

/** SHA-256 as 64 hex. No salt and no slow hash: 160 random bits cannot be guessed, and the lookup needs an index. */
export function hashToken(text: string): string {
  return oneShotHash('sha256', text, 'hex');
}
